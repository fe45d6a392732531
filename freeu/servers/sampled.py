"""The sampling settings of a workflow or request, in a model's spec, and what a study changes in them."""

from __future__ import annotations

from typing import Any

from configs import UserError
from freeu import schedulers
from freeu.models.spec import ModelSpec, side_of
from freeu.sampling import Sampling

UNSET: dict[str, Any] = {
    **{"guidance_rescale": 0.0, "pag_scale": 0.0, "eta": None, "clip_skip": None},
    **{"negative_prompt": "", "size": None},
}
"""What a spec has of settings that the workflow or request says nothing of."""


def known_scheduler(sampler: Any, schedule: Any) -> str | None:
    """The project's name of a server's sampler and schedule; None of one that it doesn't know."""
    if not isinstance(sampler, str):
        return None
    try:
        return schedulers.named(sampler, schedule if isinstance(schedule, str) else None).name
    except UserError:
        return None


def spec_fields(sampling: Sampling) -> dict[str, Any]:
    """A spec's fields for these settings."""
    found = {**UNSET, "negatives": {}, "scheduler": schedulers.DEFAULT, "scheduler_config": {}}
    found |= {name: getattr(sampling, name) for name in sampling.as_dict()}
    return found | ({} if sampling.size is None else {"resolution": side_of(sampling.size)})


def changes(spec: ModelSpec, sampling: Sampling) -> dict[str, Any]:
    """What a spec has otherwise than its workflow or request, by the names of `Sampling`."""
    before = spec.model_copy(update=spec_fields(sampling))
    names = ("steps", "guidance", "guidance_rescale", "eta", "clip_skip", "scheduler", "negative_prompt", "size")
    return {name: getattr(spec, name) for name in names if getattr(spec, name) != getattr(before, name)}
