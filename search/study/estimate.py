"""Estimates how long a study takes: from what the same model took before in this results folder, else from the work of
one U-Net evaluation and the usual speed of such a machine, a guess within a factor of 3.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs import UserError, read_yaml
from freeu.sampling import sizes_of
from search.storage import StudyFolder, studies

if TYPE_CHECKING:
    from search.settings.job import Job

# GFLOP of one evaluation for one image at 512 (1024 for SDXL) pixels, counted with torch's profiler; about
# proportional to the pixels.
WORK = {"shapes": (0.27, 64), "sd14": (800, 512), "sd15": (800, 512), "sd21": (800, 512), "sdxl": (6000, 1024)}
SPEED = {
    "cpu": 25.0,
    "mps": 3_000.0,
    "cuda": 80_000.0,
}  # GFLOP/s: of a CPU core in float32, of a device as a whole
GPUS = {"an RTX 4090": 80_000.0, "an H100": 270_000.0}  # GFLOP/s in half precision, eager
OVERHEAD = 25.0  # seconds: loading, the sampler's thinking, MLflow


def seconds(job: Job, evaluations: int) -> tuple[float, bool]:
    """(seconds that so many U-Net evaluations of the job take, whether that rests on measurements here)."""
    config, spec = job.config, job.spec
    rate = measured(config.mlruns, spec.name, job.device, config.dtype, config.size)
    if rate is not None:
        return OVERHEAD + rate * evaluations, True
    kind = job.device.partition(":")[0]
    speed = SPEED[kind] * ((os.cpu_count() or 1) if kind == "cpu" else 1)
    return OVERHEAD + _work(job, evaluations) / speed, False


def on_gpus(job: Job, evaluations: int) -> dict[str, float]:
    """GPU → about how many seconds the same takes there."""
    return {name: OVERHEAD + _work(job, evaluations) / speed for name, speed in GPUS.items()}


def _work(job: Job, evaluations: int) -> float:
    """In GFLOP."""
    work, side = WORK.get(job.spec.name, WORK["sd15"])
    return evaluations * work * (job.spec.resolution / side) ** 2


def measured(
    mlruns: Path, model: str, device: str, dtype: str | None = None, sizes: Sequence[tuple[int, int]] = ()
) -> float | None:
    """Seconds for each U-Net evaluation, scoring included, over this model's trials under the same settings; None where
    there are none.
    """
    asked = {"model": model, "device": device, "dtype": dtype}
    seconds = evaluations = 0.0
    for name in studies(mlruns):
        folder = StudyFolder(mlruns, name)
        try:
            settings = read_yaml(folder.config)
            same = all(settings.get(key) == value for key, value in asked.items())
            same &= (sizes_of(settings["size"]) if settings.get("size") else ()) == tuple(sizes)
            records = folder.read_trials() if same else []
        except (UserError, OSError):  # OSError: a folder that another user keeps to himself
            continue  # a damaged study elsewhere is no reason not to plan this one
        seconds += sum(record.seconds.get("total", 0.0) for record in records if record.complete)
        evaluations += sum(record.unet_evaluations for record in records if record.complete)
    return seconds / evaluations if seconds > 0 and evaluations > 0 else None
