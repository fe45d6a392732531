"""The names of schedulers: diffusers' classes, and what the web UI, ComfyUI and InvokeAI call the same thing.

A name is a sampler ("DPM++ 2M", `dpmpp_2m`, `DPMSolverMultistepScheduler`), alone or with a schedule behind it
("Karras", `sgm_uniform`). A sampler alone keeps the schedule that the model's pipeline brings, as diffusers' own
`from_config` does. The tables follow diffusers' overview of schedulers (docs, api/schedulers/overview), the web UI's
modules/sd_samplers_kdiffusion.py and sd_schedulers.py, and ComfyUI's comfy/samplers.py; they need neither torch nor
diffusers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

from configs import UserError, unknown


@dataclass(frozen=True)
class Sampler:
    """How a step is made.

    Attributes:
        kind: diffusers' class. changes: what it is set up with.
        webui, comfyui: what these tools call it; None where they lack it.
        also: further names. eta: whether it takes one. spaced: whether its timesteps can be spaced otherwise.
        curved: whether its sigmas can be Karras', exponential or beta.
        automatic: the schedule that the web UI gives it unasked; None where it has but one.
    """

    name: str
    kind: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    webui: str | None = None
    comfyui: str | None = None
    also: tuple[str, ...] = ()
    eta: bool = False
    spaced: bool = True
    curved: bool = True
    automatic: str | None = None


@dataclass(frozen=True)
class Schedule:
    """Where the steps are: changes to a scheduler's config, and what the tools call them."""

    name: str
    changes: Mapping[str, Any]
    webui: str
    comfyui: str
    also: tuple[str, ...] = ()

    @property
    def curved(self) -> bool:
        """Whether it shapes the sigmas, and not the timesteps."""
        return "timestep_spacing" not in self.changes


DPM, SINGLE, SDE = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}
PP = {"algorithm_type": "dpmsolver++"}
SAMPLERS = (
    Sampler("Euler", "EulerDiscreteScheduler", webui="Euler", comfyui="euler", automatic="linspace"),
    Sampler(
        "Euler a",
        "EulerAncestralDiscreteScheduler",
        webui="Euler a",
        comfyui="euler_ancestral",
        also=("Euler ancestral",),
        curved=False,
        automatic="linspace",
    ),
    Sampler("Heun", "HeunDiscreteScheduler", webui="Heun", comfyui="heun", automatic="linspace"),
    Sampler("LMS", "LMSDiscreteScheduler", webui="LMS", comfyui="lms", automatic="linspace"),
    Sampler("DPM2", "KDPM2DiscreteScheduler", webui="DPM2", comfyui="dpm_2", also=("kdpm_2",), automatic="Karras"),
    Sampler(
        "DPM2 a",
        "KDPM2AncestralDiscreteScheduler",
        webui="DPM2 a",
        comfyui="dpm_2_ancestral",
        also=("kdpm_2_a", "DPM2 ancestral"),
        automatic="Karras",
    ),
    Sampler(
        "DPM++ 2M",
        DPM,
        {**PP, "solver_order": 2},
        webui="DPM++ 2M",
        comfyui="dpmpp_2m",
        also=("dpmsolver++", "DPM-Solver++"),
        automatic="Karras",
    ),
    Sampler("DPM++ 3M", DPM, {**PP, "solver_order": 3}, also=("dpmpp_3m",)),
    Sampler(
        "DPM++ 2M SDE",
        DPM,
        {**SDE, "solver_order": 2},
        webui="DPM++ 2M SDE",
        comfyui="dpmpp_2m_sde",
        also=("dpmpp_2m_sde_gpu",),
        automatic="exponential",
    ),
    Sampler(
        "DPM++ 2M SDE Heun",
        DPM,
        {**SDE, "solver_order": 2, "solver_type": "heun"},
        webui="DPM++ 2M SDE Heun",
        comfyui="dpmpp_2m_sde_heun",
        also=("dpmpp_2m_sde_heun_gpu",),
        automatic="exponential",
    ),
    Sampler(
        "DPM++ 3M SDE",
        DPM,
        {**SDE, "solver_order": 3},
        webui="DPM++ 3M SDE",
        comfyui="dpmpp_3m_sde",
        also=("dpmpp_3m_sde_gpu",),
        automatic="exponential",
    ),
    Sampler(
        "DPM++ SDE",
        "DPMSolverSDEScheduler",
        webui="DPM++ SDE",
        comfyui="dpmpp_sde",
        also=("dpmpp_sde_gpu",),
        automatic="Karras",
    ),
    Sampler("DPM++ 2S", SINGLE, {**PP, "solver_order": 2}, also=("dpmpp_2s",), spaced=False),
    Sampler(
        "UniPC",
        "UniPCMultistepScheduler",
        webui="UniPC",
        comfyui="uni_pc",
        also=("uni_pc_bh2",),
    ),
    Sampler("DEIS", "DEISMultistepScheduler", webui="DEIS", comfyui="deis"),
    Sampler("DDIM", "DDIMScheduler", webui="DDIM", comfyui="ddim", eta=True, curved=False),
    Sampler("DDPM", "DDPMScheduler", webui="DDPM", comfyui="ddpm", curved=False),
    Sampler("PNDM", "PNDMScheduler", webui="PLMS", curved=False),
    Sampler("LCM", "LCMScheduler", webui="LCM", comfyui="lcm", curved=False),
    Sampler("TCD", "TCDScheduler", eta=True, curved=False),
    Sampler("SA Solver", "SASolverScheduler", comfyui="sa_solver"),
)
"""One for each way of stepping that diffusers has for models trained on noise."""

STRAIGHT = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
SCHEDULES = (
    Schedule("Karras", {**STRAIGHT, "use_karras_sigmas": True}, "Karras", "karras", also=("k",)),
    Schedule("exponential", {**STRAIGHT, "use_exponential_sigmas": True}, "Exponential", "exponential"),
    Schedule("beta", {**STRAIGHT, "use_beta_sigmas": True}, "Beta", "beta"),
    Schedule(
        "trailing",
        {**STRAIGHT, "timestep_spacing": "trailing"},
        "SGM Uniform",
        "sgm_uniform",
        also=("simple",),
    ),
    Schedule("linspace", {**STRAIGHT, "timestep_spacing": "linspace"}, "Uniform", "normal"),
    Schedule("leading", {**STRAIGHT, "timestep_spacing": "leading"}, "DDIM", "ddim_uniform"),
)
"""Where the tools' own are close to diffusers' and not the same (`simple`), the nearest stands for them."""

EDM = {"Euler": "EDMEulerScheduler", "DPM++ 2M": "EDMDPMSolverMultistepScheduler"}
"""Of the samplers, those that diffusers has for models in EDM's formulation."""
DEFAULT, OF_EDM = "default", "edm"
"""The scheduler that the pipeline brings, and DPM++ 2M for a model in EDM's formulation."""
NOT_HERE = {
    "dpmpp2sa": "DPM++ 2S",
    "dpmpp2sancestral": "DPM++ 2S",
    "dpmfast": "DPM++ 2M",
    "dpmadaptive": "DPM++ 2M",
    "restart": "Heun",
    "heunpp2": "Heun",
}
"""Samplers of other tools that diffusers lacks, and the one of its own that is nearest."""
SHAPES = ("polyexponential", "kloptimal", "alignyoursteps", "linearquadratic", "alignyourstepsgits", "turbo")
"""Schedules of other tools that diffusers lacks."""


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
    def changes(self) -> dict[str, Any]:
        """What is otherwise than in the class' and the pipeline's config."""
        return {**self.sampler.changes, **(self.schedule.changes if self.schedule else {})}

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

    schedule: where a tool says it apart, as ComfyUI's `scheduler` and the web UI's "Schedule type"; "Automatic" is what
    the web UI makes of it.

    Raises:
        UserError: no such name, or the sampler can't be run on that schedule; names the nearest.
    """
    automatic = schedule is not None and _bare(schedule) == "automatic"
    text = name if schedule is None or automatic else f"{name} {schedule}"
    bare = _bare(text)
    found = _known().get(bare)
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


def canonical(name: str) -> str:
    """The name under which a scheduler is shown and kept: "Euler a" of `euler_ancestral`.

    Raises:
        UserError: as `named`.
    """
    return name if name in (DEFAULT, OF_EDM) else named(name).name


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
