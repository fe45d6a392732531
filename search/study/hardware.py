"""What a plan says of the machine: a GPU that seems to be missing, and what GPUs would make of days on a processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs import devices
from search.study import estimate
from search.terminal.progress import duration

if TYPE_CHECKING:
    from search.settings.job import Job

DAY = 24 * 3600


def lines(job: Job, seconds: float, evaluations: int, per_image: int) -> list[str]:
    """None where there is nothing to say. seconds: that the work takes here; the rest as in `estimate.on_gpus`."""
    here = job.config.ray is None and job.spec.traits.here
    if here and devices.driverless(job.device):
        return [f"warning     this machine seems to have no {job.device.name}: no driver of a GPU was found"]
    if job.device.kind != "cpu" or seconds <= DAY:
        return []
    found = estimate.on_gpus(job, evaluations, per_image).items()
    return [f"use a GPU   on {name} about {duration(each)}" for name, each in found]
