"""The names of schedulers: diffusers' classes, and what the web UI, ComfyUI and InvokeAI call the same thing.

A name is a sampler ("DPM++ 2M", `dpmpp_2m`, `DPMSolverMultistepScheduler`), alone or with a schedule behind it
("Karras", `sgm_uniform`). A sampler alone keeps the schedule that the model's pipeline brings, as diffusers' own
`from_config` does. Needs neither torch nor diffusers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from configs import UserError, unknown

from .sampler_table import DEFAULT, EDM, NOT_HERE, OF_EDM, OF_SIGMAS, SAMPLERS, SCHEDULES, SHAPES, Sampler, Schedule


@dataclass(frozen=True)
class Scheduler:
    """A sampler, and a schedule or that of the pipeline."""

    sampler: Sampler
    schedule: Schedule | None = None

    @property
    def name(self) -> str:
        """As it is shown, and read again."""
        return f"{self.sampler.name} {self.schedule.name}" if self.schedule else self.sampler.name

    @property
    def webui(self) -> tuple[str, str] | None:
        """What the web UI's fields "Sampler" and "Schedule type" say; None where it has no such sampler."""
        if self.sampler.webui is None:
            return None
        if self.schedule is not None:
            return self.sampler.webui, self.schedule.webui
        return self.sampler.webui, "Uniform" if self.sampler.automatic else "Automatic"

    @property
    def comfyui(self) -> tuple[str, str] | None:
        """ComfyUI's (sampler_name, scheduler); None where it has no such sampler."""
        if self.sampler.comfyui is None:
            return None
        return self.sampler.comfyui, self.schedule.comfyui if self.schedule else "normal"


def named(name: str, schedule: str | None = None) -> Scheduler:
    """The scheduler of a name that diffusers or any of the tools has for it, whatever its case and spacing.

    "edm" is DPM++ 2M, which a model in EDM's formulation is run with.
    schedule: where a tool says it apart, as ComfyUI's `scheduler` and the web UI's "Schedule type"; "Automatic" is what
    the web UI makes of it.

    Raises:
        UserError: no such name, or the sampler can't be run on that schedule; names the nearest.
    """
    automatic = schedule is not None and _bare(schedule) == "automatic"
    text = name if schedule is None or automatic else f"{name} {schedule}"
    bare = _bare(text)
    found = _known().get(_bare("DPM++ 2M") if name == OF_EDM else bare)
    if found is None:
        raise _not_known(text, bare)
    if found.schedule is not None and (found.schedule.curved and not found.sampler.curved):
        raise UserError(
            f"scheduler '{found.name}': diffusers' {found.sampler.kind} has no such sigmas: give '{found.sampler.name}'"
        )
    if found.schedule is not None and not found.schedule.curved and not found.sampler.spaced:
        raise UserError(
            f"scheduler '{found.name}': diffusers' {found.sampler.kind} spaces its timesteps in one way: give "
            f"'{found.sampler.name}'"
        )
    if automatic and found.schedule is None and found.sampler.automatic is not None:
        return Scheduler(found.sampler, next(each for each in SCHEDULES if each.name == found.sampler.automatic))
    return found


def takes_eta(name: str) -> bool:
    """Whether a scheduler adds noise that eta sets; True for "default", which only its pipeline knows. Raises UserError
    as `named`."""
    return name == DEFAULT or named(name).sampler.eta is not None


def usual_eta(name: str) -> float:
    """How much of it a scheduler adds unasked. Raises UserError as `named`."""
    return 0.0 if name == DEFAULT else named(name).sampler.eta or 0.0


def canonical(name: str) -> str:
    """The name under which a scheduler is shown and kept: "Euler a" of `euler_ancestral`.

    Raises:
        UserError: as `named`.
    """
    return name if name in (DEFAULT, OF_EDM) else named(name).name


def in_edm(own: str, config: Mapping[str, Any]) -> bool:
    """Whether a model is noised as EDM has it (Karras et al., arXiv 2206.00364). own: the class of its scheduler.
    config: of that, and what the model's spec changes in it."""
    return own.startswith("EDM") or "sigma_data" in config


def check_runs(chosen: Scheduler, own: str, config: Mapping[str, Any]) -> None:
    """Whether it can sample a model. own, config: as in `in_edm`.

    Raises:
        UserError: it can't run how the model predicts, or how it was noised; says which can.
    """
    sampler, said = chosen.sampler, f"--scheduler '{chosen.name}'"
    if in_edm(own, config) and (sampler.name not in EDM or (chosen.schedule and chosen.schedule.name not in OF_SIGMAS)):
        raise UserError(
            f"{said} can't run this model, which is in EDM's formulation: give {' or '.join(EDM)}, alone or with "
            f"{' or '.join(OF_SIGMAS)}, or leave it out"
        )
    if config.get("timestep_type") == "continuous" and sampler.name != "Euler":
        raise UserError(f"{said} can't run this model, which is told the noise itself and not a timestep: give Euler")
    if config.get("prediction_type") == "sample" and not sampler.samples:
        raise UserError(f"{said} can't run this model, which predicts the image: give {_some(lambda s: s.samples)}")
    if config.get("rescale_betas_zero_snr") and not sampler.zero_snr:
        raise UserError(
            f"{said} can't run this model, which begins from noise without any signal (zero terminal SNR): give "
            f"{_some(lambda s: s.zero_snr)}"
        )


def _some(fits: Callable[[Sampler], bool]) -> str:
    *most, last = [each.name for each in SAMPLERS if fits(each)][:5]
    return f"{', '.join(most)} or {last}"


def _not_known(text: str, bare: str) -> UserError:
    lacking = next((each for each in NOT_HERE if bare.startswith(each)), None)
    if lacking is not None:
        return UserError(
            f"scheduler '{text}': diffusers, which draws all images, has no such sampler: the nearest is "
            f"'{NOT_HERE[lacking]}'"
        )
    shape = next((each for each in SHAPES if bare.endswith(each)), None)
    if shape is not None and bare.removesuffix(shape) in _known():
        return UserError(
            f"scheduler '{text}': diffusers, which draws all images, has no such schedule: give one of "
            f"{', '.join(each.name for each in SCHEDULES)}"
        )
    near = difflib.get_close_matches(bare, _known(), n=1, cutoff=0.5)
    known = [DEFAULT, *(each.name for each in SAMPLERS), *(f"… {each.name}" for each in SCHEDULES)]
    return unknown("scheduler", text, known, _known()[near[0]].name if near else None)


@cache
def _known() -> dict[str, Scheduler]:
    """By their bare names."""
    samplers: dict[str, Sampler] = {}
    for each in SAMPLERS:
        kind = each.kind
        for name in (each.name, each.webui, each.comfyui, *each.also, kind, kind.removesuffix("Scheduler")):
            if name is not None:
                samplers.setdefault(_bare(name), each)
    schedules = {_bare(name): each for each in SCHEDULES for name in (each.name, each.webui, each.comfyui, *each.also)}
    found = {name: Scheduler(each) for name, each in samplers.items()}
    for (one, sampler), (other, schedule) in product(samplers.items(), schedules.items()):
        found.setdefault(one + other, Scheduler(sampler, schedule))
    return found


def _bare(name: str) -> str:
    """Without case, spaces and marks, k-diffusion's `sample_` and `k_`, and "++" as code writes it."""
    text = re.sub(r"^(sample|k)[_ ]", "", name.strip().lower()).replace("++", "pp")
    return re.sub(r"[^a-z0-9]", "", text)
