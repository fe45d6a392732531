"""Text to video: frames that depend on prompt and seed alone, FreeU on and off, and a study over them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import freeu
from configs import UserError
from freeu.models import load_generator, load_spec
from tests import tiny

MAKERS = {"modelscope": tiny.modelscope, "animatediff": tiny.animatediff}
FRAMES = 3
PROMPTS, SEEDS = ["a boat", "a cat", "a hat"], [0, 1, 2]


@pytest.fixture(scope="module", params=MAKERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("video") / request.param)


def generator(folder: Path, batch_size: int = 2):
    spec = load_spec(folder).model_copy(update={"frames": FRAMES, "scheduler": "dpmsolver++"})
    assert spec.kind == "text-to-video"
    return load_generator(spec, device="cpu", steps=2, guidance=3.0, batch_size=batch_size)


def test_is_what_diffusers_own_call_gives(folder: Path) -> None:
    import diffusers

    made = generator(folder)
    pipeline = made._pipeline
    latents = torch.stack([freeu_noise("a boat", 0, made._latent)])
    pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, algorithm_type="dpmsolver++"
    )
    pipeline.set_progress_bar_config(disable=True)
    wanted = pipeline(
        "a boat", num_frames=FRAMES, num_inference_steps=2, guidance_scale=3.0, latents=latents, output_type="pt"
    ).frames
    found = made.generate(["a boat"], [0], freeu.IDENTITY)
    torch.testing.assert_close(found[0] / 255, wanted[0].float(), atol=1 / 255, rtol=0)


def test_more_frames_than_the_adapter_has_are_refused(tmp_path: Path) -> None:
    spec = load_spec(tiny.animatediff(tmp_path / "pipeline")).model_copy(update={"frames": 9})
    with pytest.raises(UserError, match="9 frames are more than the 8 of the motion adapter: lower --frames"):
        load_generator(spec, device="cpu")


def freeu_noise(prompt: str, seed: int, shape) -> torch.Tensor:
    from freeu.generate import noise

    return noise(prompt, seed, shape)
