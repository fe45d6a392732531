"""Several sizes in one study: each image has the one that its seed deals, and is what diffusers' call draws there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from configs import UserError
from freeu import IDENTITY, Candidate, Factors, Sampling
from freeu.generate import noise
from freeu.sampling import dealt, sizes_of
from metrics.base import Batch, Score
from search.evaluation import Evaluator, Task
from search.storage import StudyFolder
from search.storage.image_grid import save_grid, together
from tests.kinds import GUIDANCE, KINDS, STEPS, generator
from tests.search.test_kinds import saved
from tests.studies import study

SIZES = ((64, 32), (32, 48), (32, 32))
PROMPTS = [f"thing {n}" for n in range(7)]
SEEDS = [3, 1, 4, 1, 5, 9, 2]
DEALT = [SIZES[seed % 3] for seed in SEEDS]


class Red:
    """The mean of the red channel of each image; keeps the shapes that it was given."""

    name, version, direction, per_image, min_n = "red", "1", "up", True, 1

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def score(self, batch: Batch) -> Score:
        self.shapes.append(tuple(batch.images.shape))
        found = batch.images[:, 0].double().mean((1, 2)).numpy()
        return Score("red", "1", "up", float(found.mean()), 0.0, len(found), found)


def wanted(one: Any, prompt: str, seed: int, guidance: float) -> torch.Tensor:
    """diffusers' own call, (3, H, W) from 0 to 255."""
    from diffusers import DPMSolverMultistepScheduler

    pipeline, (width, height) = one._pipeline, dealt(SIZES, seed)
    pipeline.set_progress_bar_config(disable=True)
    config = pipeline.scheduler.config
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++")
    drawn = pipeline(
        prompt, width=width, height=height, latents=noise(prompt, seed, (4, height // 4, width // 4))[None],
        num_inference_steps=STEPS, guidance_scale=guidance, output_type="pt",
    )  # fmt: skip
    return 255 * drawn.images[0]


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("guidance", [None, 5.0])
def test_each_image_is_diffusers_own_of_its_size(kind: str, guidance: float | None, tmp_path: Path) -> None:
    """SDXL's also tells the model its size: another is another image."""
    one, metric, done = generator(KINDS[kind](tmp_path)), Red(), list[float]()
    evaluator = Evaluator(one, {"red": metric}, PROMPTS, SEEDS, whole=True, sizes=SIZES)
    found = evaluator(Task(Candidate(IDENTITY, Sampling(guidance=guidance)), len(PROMPTS)), done.append)
    assert [tuple(each.shape) for each in found.images] == [(3, height, width) for width, height in DEALT]
    for prompt, seed, image in zip(PROMPTS, SEEDS, found.images, strict=True):
        torch.testing.assert_close(image.float(), wanted(one, prompt, seed, guidance or GUIDANCE), atol=1.01, rtol=0)
    assert sorted(metric.shapes) == sorted((DEALT.count(each), 3, *each[::-1]) for each in set(DEALT))
    means = [float(image[0].double().mean()) for image in found.images]
    assert found.per_image["red"].tolist() == pytest.approx(means) and found.per_image["seed"].tolist() == SEEDS
    assert done == sorted(done) and done[-1] == len(PROMPTS)


@pytest.mark.parametrize("batch", [1, 2])
def test_parts_and_batches_change_nothing(batch: int, tmp_path: Path) -> None:
    """To one level: a batch of another size rounds otherwise."""
    one = generator(KINDS["sd"](tmp_path), batch_size=batch)
    evaluator = Evaluator(one, {"red": Red()}, PROMPTS, SEEDS, whole=True, sizes=SIZES)
    candidate = Candidate(Factors(1.3, 1.2, 0.9, 0.8))
    whole = evaluator(Task(candidate, 7))
    parts = evaluator(Task(candidate, 7, before=evaluator(Task(candidate, 3))))
    np.testing.assert_allclose(parts.per_image["red"], whole.per_image["red"], atol=0.5)
    for image, alone in zip(whole.images[3:], parts.images, strict=True):
        torch.testing.assert_close(image.float(), alone.float(), atol=1.01, rtol=0)


def test_a_study(tmp_path: Path) -> None:
    """Images of both sizes are kept as they are; a grid has room for the larger."""
    model = saved(KINDS["sd"](tmp_path), tmp_path / "model.yaml")
    options: dict[str, Any] = {"model": str(model), "limit": 8, "held_out": 8, "mlruns": tmp_path / "mlruns"}
    said = study(trials=3, size=["64x32", "32x48"], study="s", **options)
    assert "64×32 or 32×48" in said
    folder = StudyFolder(tmp_path / "mlruns", "s")
    with Image.open(folder.grid_file(0)) as grid:
        assert grid.size == (3 * 66 - 2, 3 * 50 - 2)
    kept = [Image.open(file).size for file in sorted((folder.root / "confirm" / "baseline").glob("*.webp"))]
    table = folder.read_held_out("baseline")
    assert table is not None
    assert kept == [dealt(((64, 32), (32, 48)), seed) for seed in table["seed"]] and len(set(kept)) == 2
    with pytest.raises(UserError, match="sampling"):  # other sizes are another study
        study(trials=4, size=["64x32", "32x32"], study="s", **options)


def test_a_grid_centres_smaller_images(tmp_path: Path) -> None:
    images = together([torch.zeros(3, 4, 8, dtype=torch.uint8), torch.zeros(3, 8, 4, dtype=torch.uint8)])
    save_grid(images, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        dark = np.asarray(grid.convert("L")) == 0
    assert dark.shape == (8, 18) and dark[2:6, :8].all() and dark[:, 12:16].all() and dark.sum() == 64


@pytest.mark.parametrize(
    ("given", "found"),
    [("64x32", ((64, 32),)), ([64, 32], ((64, 32),)), (["64x32", [32, 32]], ((64, 32), (32, 32)))],
)
def test_one_or_several(given: Any, found: Any) -> None:
    assert sizes_of(given) == found


@pytest.mark.parametrize("wrong", [["64x32", "64x32"], ["64x32", "63x32"], ["64x32", [32]], [], "64"])
def test_sizes_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(UserError, match="size is"):
        sizes_of(wrong)
