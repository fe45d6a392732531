"""The families of models that are distilled to a few steps, and the sampling settings that each needs.

A family's settings are those of its authors' own example; the source stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_STEPS, MOST_GUIDANCE = 8, 2.0
"""What few-step models are run with, and no others."""


@dataclass(frozen=True)
class Family:
    """One of them.

    Attributes:
        strong: what in a name tells it. weak: what tells it of a whole model, and of a LoRA with a few-step model's
            layers: the word means other things too.
        scheduler, guidance, eta, config: its authors'; config is changes to the scheduler's.
        timesteps: those that it is run at, where the scheduler would have others; as many as steps.
        steps: theirs, where the name says no number.
        also: further samplers that it is run with. most: the largest guidance that it takes.
    """

    name: str
    strong: str
    scheduler: str
    steps: int
    guidance: float
    source: str
    weak: str = "(?!)"
    also: tuple[str, ...] = ()
    most: float = MOST_GUIDANCE
    eta: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    timesteps: tuple[int, ...] = ()


SDE = ("DPM++ SDE", "DPM++ 2M SDE", "Euler a", "LCM", "TCD")
"""Samplers that fine-tunes of Lightning, Hyper and Turbo are given out for, beside their families' own."""
FAMILIES = (
    Family(
        "DMD2 in one step",
        r"(?<![a-z])dmd2?(?![a-z]).*(?<!\d)1[-_ ]?steps?",
        "LCM",
        1,
        0.0,
        "github.com/tianweiy/DMD2, README, 1-step generation",
        timesteps=(399,),
    ),
    # timesteps 999, 749, 499, 249 for 4 steps: LCM's own schedule is 999, 759, 499, 259 there.
    Family(
        "DMD2",
        r"(?<![a-z])dmd2?(?![a-z])",
        "LCM",
        4,
        0.0,
        "github.com/tianweiy/DMD2, README, 4-step LoRA generation",
        config={"original_inference_steps": 1000},
    ),
    Family(
        "LCM",
        r"(?<![a-z])lcm(?![a-z])|latent[-_ ]?consistency",
        "LCM",
        4,
        1.0,
        "huggingface.co/latent-consistency/lcm-lora-sdxl: 2 to 8 steps, no guidance or 1 to 2",
        also=("TCD",),
    ),
    Family(
        "TCD",
        r"(?<![a-z])tcd(?![a-z])",
        "TCD",
        4,
        0.0,
        "huggingface.co/h1t/TCD-SDXL-LoRA",
        also=("LCM",),
        eta=0.3,
    ),
    Family(
        "Hyper-SD with guidance",
        r"hyper.*cfg",
        "DDIM trailing",
        8,
        5.0,
        "huggingface.co/ByteDance/Hyper-SD: 5 to 8 for the CFG-preserved LoRAs",
        also=("Euler", *SDE),
        most=8.0,
    ),
    Family(
        "Hyper-SD's U-Net for one step",
        r"hyper[-_ ]?sd.*(?<!\d)1[-_ ]?steps?[-_ ]?unet",
        "LCM",
        1,
        0.0,
        "huggingface.co/ByteDance/Hyper-SD, 1-step Unet",
        timesteps=(800,),
    ),
    Family(
        "Hyper-SD for any number of steps",
        r"hyper[-_ ]?sd.*(?<!\d)1[-_ ]?steps?",
        "TCD",
        1,
        0.0,
        "huggingface.co/ByteDance/Hyper-SD: the 1-step LoRA, TCD with eta 1",
        also=("LCM",),
        eta=1.0,
    ),
    Family(
        "Hyper-SD",
        r"hyper[-_ ]?sd|hyper.*\d[-_ ]?steps?",
        "DDIM trailing",
        4,
        0.0,
        "huggingface.co/ByteDance/Hyper-SD: DDIM, spaced trailing",
        weak=r"hyper(?![a-z]|[-_ ]?(real|detail))",
        also=("Euler", *SDE),
    ),
    Family(
        "Lightning in one step",
        r"lightning.*(?<!\d)1[-_ ]?steps?",
        "Euler trailing",
        1,
        0.0,
        "huggingface.co/ByteDance/SDXL-Lightning: it predicts the image",
        config={"prediction_type": "sample"},
    ),
    Family(
        "Lightning",
        r"xl[-_ ]?lightning|lightning.*\d[-_ ]?steps?",
        "Euler trailing",
        4,
        0.0,
        "huggingface.co/ByteDance/SDXL-Lightning: Euler, spaced trailing",
        weak=r"lightning(?![a-z])",
        also=("DDIM", *SDE),
    ),
    Family(
        "Turbo",
        r"(sd|xl)[-_ ]?turbo",
        "Euler a trailing",
        4,
        0.0,
        "huggingface.co/stabilityai/sdxl-turbo: 1 to 4 steps, its scheduler",
        weak="turbo",
        also=("Euler", "DDIM", *SDE),
    ),
)
BY_LAYERS = Family(
    "LCM or DMD2",
    "(?!)",
    "LCM",
    4,
    1.0,
    "the layers that both train",
    also=("TCD",),
)
BY_SETTINGS = Family(
    "a few-step model",
    "(?!)",
    "Euler trailing",
    4,
    1.0,
    "as Lightning and Hyper-SD want; for LCM or DMD2 give --scheduler LCM",
    also=("DDIM", *SDE),
)
GUIDED = Family(
    "an LCM whose U-Net takes the guidance",
    "(?!)",
    "LCM",
    4,
    8.0,
    "huggingface.co/SimianLuo/LCM_Dreamshaper_v7",
    also=("TCD",),
    most=100.0,
)
