"""Sampling settings as the tools write them: what a format holds of a preset's, and the tools' names for schedulers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from configs import UserError
from freeu.sampler_table import DEFAULT, OF_EDM
from freeu.sampling import Sampling
from freeu.schedulers import Scheduler, named

INVOKEAI = {
    "Euler": "euler",
    "Euler a": "euler_a",
    "Heun": "heun",
    "LMS": "lms",
    "DPM2": "kdpm_2",
    "DPM2 a": "kdpm_2_a",
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ 3M": "dpmpp_3m",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
    "DPM++ SDE": "dpmpp_sde",
    "DPM++ 2S": "dpmpp_2s",
    "UniPC": "unipc",
    "DEIS": "deis",
    "DDIM": "ddim",
    "DDPM": "ddpm",
    "PNDM": "pndm",
    "LCM": "lcm",
    "TCD": "tcd",
}
"""Samplers, as InvokeAI's field `scheduler` names them; with Karras' sigmas "_k" stands behind."""


def worded(sampling: Sampling) -> dict[str, str]:
    """What is set, by name, each for people: "guidance 6.5", "28 steps", "Euler a"."""
    s = sampling
    found = {
        "guidance": s.guidance is not None and f"guidance {s.guidance:g}",
        "steps": s.steps is not None and f"{s.steps} steps",
        "scheduler": s.scheduler is not None and s.scheduler,
        "guidance_rescale": s.guidance_rescale is not None and f"guidance rescale {s.guidance_rescale:g}",
        "pag_scale": s.pag_scale is not None and f"PAG scale {s.pag_scale:g}",
        "eta": s.eta is not None and f"eta {s.eta:g}",
        "clip_skip": s.clip_skip is not None and f"clip skip {s.clip_skip}",
        "size": s.size is not None and f"{s.size[0]}x{s.size[1]}",
        "negative_prompt": s.negative_prompt is not None and f"negative prompt {s.negative_prompt!r}",
    }
    return {name: each for name, each in found.items() if each}


def in_words(sampling: Sampling) -> str:
    """For people, without what is so unasked: "guidance 6.5, 28 steps, Euler a"; "" where nothing is set."""
    unsaid = {
        "scheduler": (DEFAULT, OF_EDM),
        "guidance_rescale": (0,),
        "pag_scale": (0,),
        "eta": (0,),
        "negative_prompt": ("",),
    }
    said = worded(sampling).items()
    return ", ".join(each for name, each in said if getattr(sampling, name) not in unsaid.get(name, ()))


def without(sampling: Sampling, held: Collection[str]) -> Sampling:
    """Those that are not among `held`, by name."""
    return Sampling(**{name: getattr(sampling, name) for name in sampling.as_dict() if name not in held})


def scheduler_of(sampling: Sampling) -> Scheduler | None:
    """None where it is not set, or is the one that the pipeline brings.

    Raises:
        UserError: no such scheduler.
    """
    name = sampling.scheduler
    return None if name in (None, DEFAULT, OF_EDM) else named(str(name))


def invokeai_name(scheduler: Scheduler | None) -> str | None:
    """None where InvokeAI has no such scheduler."""
    if scheduler is None or scheduler.sampler.name not in INVOKEAI:
        return None
    if scheduler.schedule is not None and scheduler.schedule.name != "Karras":
        return None
    return INVOKEAI[scheduler.sampler.name] + ("_k" if scheduler.schedule else "")


def has_scheduler(sampling: Sampling, tool: str | None) -> bool:
    """Whether a tool has the scheduler that is set. tool: "webui", "comfyui" or "invokeai"; None has diffusers' all."""
    scheduler = scheduler_of(sampling)
    if scheduler is None or tool is None:
        return True
    names = {"webui": scheduler.webui, "comfyui": scheduler.comfyui, "invokeai": invokeai_name(scheduler)}
    return names[tool] is not None


class Taken:
    """Settings taken one by one out of what another tool wrote; what can't be taken is kept in words."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.left: list[str] = []

    def take(self, name: str, value: Any) -> None:
        """A setting of `Sampling`, of JSON's types or as text; None is not there."""
        try:
            if value is not None:
                self.found |= Sampling(**{name: _plain(name, value)}).as_dict()
        except UserError as error:
            self.left.append(str(error))

    def schedule(self, sampler: Any, schedule: Any = None) -> None:
        """The scheduler, by the names of a tool."""
        if sampler is None:
            return
        try:
            parts = [str(each) for each in (sampler, schedule) if each not in (None, "")]
            self.found["scheduler"] = _scheduler(*parts).name
        except UserError as error:
            self.left.append(str(error))

    @property
    def sampling(self) -> Sampling:
        return Sampling(**{**self.found, "size": tuple(self.found["size"]) if "size" in self.found else None})


def _scheduler(sampler: str, schedule: str | None = None) -> Scheduler:
    alone = None if schedule is None else _try(sampler)
    # Fooocus writes "DPM++ 2M Karras" and "karras" behind it.
    return alone if alone is not None and alone.schedule is not None else named(sampler, schedule)


def _try(name: str) -> Scheduler | None:
    try:
        return named(name)
    except UserError:
        return None


def _plain(name: str, value: Any) -> Any:
    """A number where text holds one."""
    if not isinstance(value, str) or name in ("negative_prompt", "scheduler"):
        return value
    try:
        return float(value) if len(value) < 50 else value
    except ValueError:
        return value
