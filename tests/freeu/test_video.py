"""Text to video: frames that depend on prompt and seed alone, FreeU on and off, and a study over them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import freeu
from freeu.models import load_generator, load_spec
from tests import tiny
from tests.studies import study

MAKERS = {"modelscope": tiny.modelscope, "animatediff": tiny.animatediff}
FRAMES = 3
PROMPTS, SEEDS = ["a boat", "a cat", "a hat"], [0, 1, 2]


@pytest.fixture(scope="module", params=MAKERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("video") / request.param)


def generator(folder: Path, batch_size: int = 2):
    spec = load_spec(folder).model_copy(update={"frames": FRAMES})
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


def freeu_noise(prompt: str, seed: int, shape) -> torch.Tensor:
    from freeu.generate import noise

    return noise(prompt, seed, shape)


def test_a_study_of_videos(tmp_path: Path) -> None:
    tiny.modelscope(tmp_path / "pipeline")
    shapes = load_spec("shapes").base / "shapes" / "scorers"
    (tmp_path / "video.yaml").write_text(
        f"kind: text-to-video\nsource: pipeline\nresolution: {tiny.SIDE}\nframes: {FRAMES}\nsteps: 2\nguidance: 3.0\n"
        "prompts: shapes\n"
        "scorers:\n"
        f'  clip: {{kind: open_clip, source: "local-dir:{shapes}/clip"}}\n'
        f"  fid: {{encoder: {{kind: transformers, source: {shapes}/features, mean: [0.5, 0.5, 0.5], "
        "std: [0.5, 0.5, 0.5], size: 64}}\n"
        f"reference: {{kind: statistics, file: {shapes}/reference.npz}}\n"
    )
    study(
        model=str(tmp_path / "video.yaml"),
        trials=3,
        limit=16,
        objectives="clip,fid",
        mlruns=tmp_path / "mlruns",
        study="videos",
    )
    folder = tmp_path / "mlruns" / "studies" / "videos"
    with Image.open(folder / "grids" / "0000.gif") as grid:
        assert grid.n_frames == FRAMES
    import pandas as pd

    table = pd.read_parquet(folder / "scores" / "0000.parquet")
    assert len(table) == 16 and "clip" in table
