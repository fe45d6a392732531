"""`--keep-images`: which images a study keeps at their full size, pixel by pixel, and what the plan says of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from freeu import IDENTITY, Factors
from search.session import run_study
from search.settings.job import prepare
from search.storage import StudyFolder
from search.study.plan import BYTES, plan
from tests.search.fakes import FakeGenerator, metrics, settings

SIDE = 208  # larger than a grid shows them


class Large(FakeGenerator):
    """The fake's pixels, each as a block, with a texture that a smaller image would lose."""

    image_size = (SIDE, SIDE)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_step: Callable[[float], None] | None = None,
    ) -> torch.Tensor:
        blocks = super().generate(prompts, seeds, factors, on_step).repeat_interleave(SIDE // 8, 2)
        texture = torch.arange(SIDE, dtype=torch.uint8) % 2
        return blocks.repeat_interleave(SIDE // 8, 3) + texture


@pytest.mark.parametrize(("keep", "held_out", "trials"), [("picks", True, False), ("all", True, True), ("small", 0, 0)])
def test_what_is_kept_is_what_was_painted(tmp_path: Path, keep: str, held_out: bool, trials: bool) -> None:
    config = settings(tmp_path, trials=4, keep_images=keep, racing=False, guardrails=False)
    run_study(config, Console(file=io.StringIO()), lambda config, spec: (Large(), metrics(config)))
    folder = StudyFolder(config.mlruns, config.name)
    table = folder.read_held_out("baseline")
    assert table is not None
    painted = Large().generate(list(table["prompt"]), list(table["seed"]), IDENTITY).movedim(1, -1).numpy()
    with Image.open(folder.held_out_image("baseline", 2)) as kept:
        assert kept.size == ((SIDE, SIDE) if held_out else (192, 192))
        assert not held_out or np.array_equal(np.asarray(kept.convert("RGB")), painted[2])
    assert not folder.held_out_image("baseline", 2).parent.joinpath("small").exists()  # for larger ones
    assert folder.trial_image(0, 7).exists() == bool(trials)
    assert not folder.trial_image(0, 8).exists()
    with Image.open(folder.grid_file(0)) as grid:
        assert grid.width == 3 * 194 - 2  # three in a row, small as ever


def test_the_plan_says_the_megabytes(tmp_path: Path) -> None:
    lines = {
        keep: plan(prepare(settings(tmp_path, keep_images=keep, trials=10))).lines()
        for keep in ("all", "picks", "small")
    }
    told = {keep: next((line for line in found if line.startswith("disk")), "") for keep, found in lines.items()}
    pixels = 64 * 64  # of shapes
    assert f"about {max(1, round(3 * 12 * pixels * BYTES / 1e6))} MB for all held-out images" in told["picks"]
    assert f"about {max(1, round((3 * 12 + 10 * 8) * pixels * BYTES / 1e6))} MB for all images" in told["all"]
    assert told["small"] == ""
