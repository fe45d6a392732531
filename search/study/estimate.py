"""Estimates how long a study takes: from what the same model took before in this results folder, else from the counted
work of its U-Net and decoder and the usual speed of such a machine, a guess within a factor of 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError
from configs.devices import cores
from freeu.sampling import sizes_of
from search.storage import StudyFolder, studies

if TYPE_CHECKING:
    from search.settings.job import Job

CPU = {"float32": 60.0, "bfloat16": 150.0}
"""GFLOP/s of a core; measured at SDXL's true size at 256 and 512 pixels and on U-Nets of its blocks, 50 to 90 and,
where the processor has such instructions, 80 to 230."""
WIDE = ("amx_bf16", "avx512_bf16")
EMULATED = 0.3
"""Of float32's speed, where it has none."""
SPEED = {"mps": 3_000.0, "cuda": 80_000.0}
"""GFLOP/s of a device as a whole, in half precision."""
SINGLE = 0.4
"""Of that, in float32."""
GPUS = {
    "an RTX 3060": 12_000.0,
    "an RTX 4070": 28_000.0,
    "an RTX 4090": 80_000.0,
    "an A100": 150_000.0,
    "an H100": 270_000.0,
}
"""GFLOP/s in half precision, eager. The H100's is measured, on SDXL; the others have the share of their data
sheets' dense tensor throughput that an RTX 4090 has, a half."""
SAME = ("kind", "resolution", "parts")
"""Of a study's fingerprint, what an evaluation's time depends on beside model, device and type."""
OVERHEAD = 25.0  # seconds: loading, the sampler's thinking, MLflow


def seconds(job: Job, evaluations: int, per_image: int) -> tuple[float, bool]:
    """(seconds that so many U-Net evaluations of the job take, whether that rests on measurements here). per_image:
    evaluations of an image."""
    config, same = job.config, {key: job.fingerprint[key] for key in SAME}
    rate = measured(config.mlruns, job.spec.name, job.device.name, config.dtype, config.size, same)
    if rate is not None:
        return OVERHEAD + rate * evaluations, True
    kind = job.device.kind
    single = job.config.dtype == "float32" or (job.config.dtype is None and kind != "cuda")
    speed = _of_cpu(job.config.dtype or "float32") if kind == "cpu" else SPEED[kind] * (SINGLE if single else 1)
    return OVERHEAD + _work(job, evaluations, per_image) / speed, False


def on_gpus(job: Job, evaluations: int, per_image: int) -> dict[str, float]:
    """GPU → about how many seconds the same takes there."""
    return {name: OVERHEAD + _work(job, evaluations, per_image) / speed for name, speed in GPUS.items()}


def _of_cpu(dtype: str) -> float:
    """GFLOP/s of this machine's processor."""
    if dtype == "float32":
        return CPU["float32"] * cores()
    try:
        wide = any(flag in Path("/proc/cpuinfo").read_text() for flag in WIDE)
    except OSError:
        wide = False
    return cores() * (CPU["bfloat16"] if wide and dtype == "bfloat16" else CPU["float32"] * EMULATED)


def _work(job: Job, evaluations: int, per_image: int) -> float:
    """In GFLOP, decoding included."""
    from freeu.models import work

    return evaluations / per_image * work.of_image(job.spec, per_image)


def measured(
    mlruns: Path,
    model: str,
    device: str,
    dtype: str | None = None,
    sizes: Sequence[tuple[int, int]] = (),
    same: Mapping[str, Any] | None = None,
) -> float | None:
    """Seconds for each U-Net evaluation, scoring included, over this model's trials under the same settings; None where
    there are none. same: what their fingerprint has to hold.
    """
    asked = {"model": model, "device": device, "dtype": dtype}
    seconds = evaluations = 0.0
    for name in studies(mlruns):
        folder = StudyFolder(mlruns, name)
        try:
            settings = folder.read_settings()
            alike = all(settings.get(key) == value for key, value in asked.items())
            alike &= (sizes_of(settings["size"]) if settings.get("size") else ()) == tuple(sizes)
            kept = settings["fingerprint"]
            alike = alike and all(kept.get(key) == value for key, value in (same or {}).items())
            records = folder.read_trials() if alike else []
        except (UserError, OSError):  # OSError: a folder that another user keeps to himself
            continue  # a damaged study elsewhere is no reason not to plan this one
        seconds += sum(record.seconds.get("total", 0.0) for record in records if record.complete)
        evaluations += sum(record.unet_evaluations for record in records if record.complete)
    return seconds / evaluations if seconds > 0 and evaluations > 0 else None
