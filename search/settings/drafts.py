"""The cheaper images of a first rung, where a study has one: fewer denoising steps, a smaller size, or both.

search/study/fewer_steps.py measures whether they rank candidates as whole images do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs import UserError
from freeu.sampling import UNCHANGED, Sampling
from search.settings import rungs

if TYPE_CHECKING:
    from search.settings.job import Job

FEW = 8
"""Steps of which the half still makes images."""
LARGE = 512
"""Pixels of a side above which images may be smaller on a first rung: the scorers see 224 to 384 of them."""


def draft(job: Job) -> Sampling | None:
    """Its steps and its size, where they differ from the study's own; None where there is no such rung."""
    found = Sampling(steps=_steps(job), size=_size(job))
    return None if found == UNCHANGED else found


def _several(job: Job) -> bool:
    """Whether a study has a first rung before others."""
    return job.config.racing and len(rungs.rungs(len(job.prompts))) > 1


def _searched(job: Job) -> bool:
    return any(each.name == "steps" for each in job.space.dimensions)


def _steps(job: Job) -> int | None:
    """Where "auto" is half of the steps."""
    asked = job.config.low_steps
    if asked != "auto":
        return asked if isinstance(asked, int) else None
    return job.steps // 2 if _several(job) and not _searched(job) and job.steps >= FEW else None


def _size(job: Job) -> tuple[int, int] | None:
    """(width, height) like the whole ones', in multiples of 8; "auto" is half of them."""
    asked, spec = job.config.low_size, job.spec
    if asked == "auto" and _several(job) and _why_not(job) is None:
        share = 0.5
    elif isinstance(asked, int):
        share = asked / spec.resolution
    else:
        return None
    height, width = (max(8, round(side * share / 8) * 8) for side in spec.image_size)
    return width, height


def _why_not(job: Job) -> str | None:
    """Why a model's images can't be smaller on a first rung."""
    spec = job.spec
    if spec.traits.drawn != "here" or spec.traits.begins is not None:
        return "the size of its images is not the study's to choose"
    if spec.sizes:
        return "its images have several sizes (--size)"
    if spec.resolution <= LARGE:
        return f"its images have {spec.resolution} pixels of a side, and only larger ones than {LARGE} can be smaller"
    return None


def pixels(job: Job) -> float:
    """Of a draft, as a share of a whole image's."""
    if job.low is None or job.low.size is None:
        return 1.0
    (width, height), whole = job.low.size, job.spec.image_size
    return width * height / (whole[0] * whole[1])


def named(low: Sampling) -> tuple[str, str]:
    """What drafts are called, and what whole images are beside them."""
    if low.size is None:
        return "few steps", "all steps"
    return ("smaller images" if low.steps is None else "few steps of smaller images"), "whole images"


def in_words(job: Job, low: Sampling) -> str:
    """For the plan."""
    height, width = job.spec.image_size
    of_steps = (f"{low.steps} steps", f"{job.steps}") if low.steps is not None else ("", "")
    of_size = ("{}x{} pixels".format(*low.size), f"{width}x{height}") if low.size is not None else ("", "")
    few, whole = (" at ".join(filter(None, each)) for each in zip(of_steps, of_size, strict=True))
    return f"{few}, if they rank the first candidates as {whole} do"


def check(job: Job) -> None:
    """Raises UserError where what is asked for can't be."""
    few, side, n = job.config.low_steps, job.config.low_size, len(job.prompts)
    if isinstance(few, int) and _searched(job):
        raise UserError(
            f"--low-steps {few}: the space searches the steps, so each candidate has its own: leave one out"
        )
    if isinstance(few, int) and few >= job.steps:
        raise UserError(f"--low-steps {few}: give fewer than the {job.steps} steps of all other images")
    if isinstance(side, int) and (why := _why_not(job)) is not None:
        raise UserError(f"--low-size {side} for the model {job.spec.name}: {why}: leave it out")
    if isinstance(side, int) and side >= job.spec.resolution:
        raise UserError(f"--low-size {side}: give less than the {job.spec.resolution} pixels of all other images")
    for flag, value in (("--low-steps", few), ("--low-size", side)):
        if isinstance(value, int) and len(rungs.rungs(n)) == 1:
            raise UserError(
                f"{flag} {value} is for the first of several rungs, and {n} prompts make only one: give "
                f"{2 * rungs.FEWEST} or more"
            )
