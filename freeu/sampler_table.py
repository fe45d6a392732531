"""The samplers and schedules that diffusers has for models trained on noise, and what other tools call them.

After diffusers' overview of schedulers (docs, api/schedulers/overview), the web UI's modules/sd_samplers_kdiffusion.py
and sd_schedulers.py, and ComfyUI's comfy/samplers.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sampler:
    """How a step is made.

    Attributes:
        kind: diffusers' class. changes: what it is set up with.
        webui, comfyui: what these tools call it; None where they lack it.
        also: further names. eta: what it is unasked; None where it takes none.
        spaced: whether its timesteps can be spaced otherwise. curved: whether its sigmas can be Karras', exponential or
            beta.
        samples: whether it runs models that predict the image itself. zero_snr: whether it can begin from pure noise.
        automatic: the schedule that the web UI gives it unasked; None where it has but one.
    """

    name: str
    kind: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    webui: str | None = None
    comfyui: str | None = None
    also: tuple[str, ...] = ()
    eta: float | None = None
    spaced: bool = True
    curved: bool = True
    samples: bool = True
    zero_snr: bool = False
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
    Sampler("Euler", "EulerDiscreteScheduler", webui="Euler", comfyui="euler", zero_snr=True, automatic="linspace"),
    Sampler(
        "Euler a",
        "EulerAncestralDiscreteScheduler",
        webui="Euler a",
        comfyui="euler_ancestral",
        also=("Euler ancestral",),
        curved=False,
        samples=False,
        zero_snr=True,
        automatic="linspace",
    ),
    Sampler("Heun", "HeunDiscreteScheduler", webui="Heun", comfyui="heun", automatic="linspace"),
    Sampler("LMS", "LMSDiscreteScheduler", webui="LMS", comfyui="lms", automatic="linspace"),
    Sampler(
        "DPM2",
        "KDPM2DiscreteScheduler",
        webui="DPM2",
        comfyui="dpm_2",
        also=("kdpm_2",),
        samples=False,
        automatic="Karras",
    ),
    Sampler(
        "DPM2 a",
        "KDPM2AncestralDiscreteScheduler",
        webui="DPM2 a",
        comfyui="dpm_2_ancestral",
        also=("kdpm_2_a", "DPM2 ancestral"),
        samples=False,
        automatic="Karras",
    ),
    Sampler(
        "DPM++ 2M",
        DPM,
        {**PP, "solver_order": 2},
        webui="DPM++ 2M",
        comfyui="dpmpp_2m",
        also=("dpmsolver++", "DPM-Solver++"),
        zero_snr=True,
        automatic="Karras",
    ),
    Sampler("DPM++ 3M", DPM, {**PP, "solver_order": 3}, also=("dpmpp_3m",), zero_snr=True),
    Sampler(
        "DPM++ 2M SDE",
        DPM,
        {**SDE, "solver_order": 2},
        webui="DPM++ 2M SDE",
        comfyui="dpmpp_2m_sde",
        also=("dpmpp_2m_sde_gpu",),
        zero_snr=True,
        automatic="exponential",
    ),
    Sampler(
        "DPM++ 2M SDE Heun",
        DPM,
        {**SDE, "solver_order": 2, "solver_type": "heun"},
        webui="DPM++ 2M SDE Heun",
        comfyui="dpmpp_2m_sde_heun",
        also=("dpmpp_2m_sde_heun_gpu",),
        zero_snr=True,
        automatic="exponential",
    ),
    Sampler(
        "DPM++ 3M SDE",
        DPM,
        {**SDE, "solver_order": 3},
        webui="DPM++ 3M SDE",
        comfyui="dpmpp_3m_sde",
        also=("dpmpp_3m_sde_gpu",),
        zero_snr=True,
        automatic="exponential",
    ),
    Sampler(
        "DPM++ SDE",
        "DPMSolverSDEScheduler",
        webui="DPM++ SDE",
        comfyui="dpmpp_sde",
        also=("dpmpp_sde_gpu",),
        samples=False,
        automatic="Karras",
    ),
    Sampler("DPM++ 2S", SINGLE, {**PP, "solver_order": 2}, also=("dpmpp_2s",), spaced=False),
    Sampler(
        "UniPC",
        "UniPCMultistepScheduler",
        webui="UniPC",
        comfyui="uni_pc",
        also=("uni_pc_bh2",),
        zero_snr=True,
    ),
    Sampler("DEIS", "DEISMultistepScheduler", webui="DEIS", comfyui="deis"),
    Sampler("DDIM", "DDIMScheduler", webui="DDIM", comfyui="ddim", eta=0.0, curved=False, zero_snr=True),
    Sampler("DDPM", "DDPMScheduler", webui="DDPM", comfyui="ddpm", curved=False, zero_snr=True),
    Sampler("PNDM", "PNDMScheduler", webui="PLMS", curved=False, samples=False),
    Sampler("LCM", "LCMScheduler", webui="LCM", comfyui="lcm", curved=False, zero_snr=True),
    Sampler("TCD", "TCDScheduler", eta=0.3, curved=False, zero_snr=True),
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
OF_SIGMAS = ("Karras", "exponential")
"""The schedules that they have."""
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
