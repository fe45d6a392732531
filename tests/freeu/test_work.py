"""The counted work of U-Nets: against torch's own counter, and against what is known of the large ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from freeu.models import load_spec, work
from tests import tiny


@pytest.mark.parametrize(("config", "side", "known"), [(work.SD1, 64, 803), (work.SDXL, 128, 6760)])
def test_large_u_nets(config: dict, side: int, known: float) -> None:
    """Known: torch's profiler, of an evaluation for one sample."""
    assert work.unet(config, side, side) == pytest.approx(known, rel=0.01)


@pytest.mark.parametrize("more", [{}, tiny.OF_SDXL], ids=["sd", "sdxl"])
def test_as_torch_counts(more: dict) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    unet = tiny.unet(24, **more).eval()
    given = {"text_embeds": torch.zeros(1, 16), "time_ids": torch.zeros(1, 6)} if more else None
    x, words = torch.randn(1, 4, 16, 8), torch.randn(1, work.TOKENS, 24)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        unet(x, 1, words, added_cond_kwargs=given)
    assert work.unet(unet.config, 16, 8) == pytest.approx(counter.get_total_flops() / 1e9, rel=0.05)


def test_an_images_work_follows_size_steps_frames_and_what_is_put_on(tmp_path: Path) -> None:
    spec = load_spec("sdxl")
    whole = work.of_image(spec, 60)
    assert whole == pytest.approx(60 * 6760 + 8460, rel=0.01)
    assert work.of_image(spec.model_copy(update={"name": "mine"}), 60) == whole  # not by its name
    assert 0.15 < work.of_image(spec.model_copy(update={"resolution": 512}), 60) / whole < 0.27
    assert work.of_image(spec.model_copy(update={"controlnets": ("a", "b")}), 60) > 1.7 * whole
    film, one = load_spec("modelscope"), load_spec("modelscope").model_copy(update={"frames": 1})
    assert work.of_image(film, 50) == pytest.approx(16 * work.of_image(one, 50))
    folder = tiny.stable_diffusion(tmp_path / "mine")
    assert work.of_image(load_spec(folder), 50) < whole / 1000
    (folder / "unet" / "config.json").write_text('{"block_out_channels": "many"}')
    assert work.of_image(load_spec(folder), 50) > 0
