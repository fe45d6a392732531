"""Flags that several commands have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL, SCORES, SEARCH, BUDGET = "The model and its images", "Prompts and scores", "The search", "How long"
MACHINE, PLACE = "The machine", "The study and its results"
"""What stands over a group of flags in --help."""

Results = Annotated[Path, typer.Option(metavar="DIR", help="The results folder.")]
Model = Annotated[
    str | None, typer.Option(metavar="MODEL", help="Name, or one of your own (default: shapes).", rich_help_panel=MODEL)
]
Loras = Annotated[
    list[str] | None,
    typer.Option("--lora", metavar="FILE[:0.8]", help="A LoRA, and its weight; several times.", rich_help_panel=MODEL),
]
UNet = Annotated[str | None, typer.Option(metavar="FOLDER", help="A fine-tuned U-Net.", rich_help_panel=MODEL)]
Input = Annotated[
    str | None,
    typer.Option(
        "--input", metavar="PLACE", help="Picture or video that every image begins from.", rich_help_panel=MODEL
    ),
]
Frames = Annotated[
    int | None, typer.Option(metavar="N", help="Frames of a video (default: the model's).", rich_help_panel=MODEL)
]
Version = Annotated[
    str | None, typer.Option(metavar="v1|v2", help="FreeU's version (default: v2).", rich_help_panel=SEARCH)
]
Stages = Annotated[
    str | None,
    typer.Option(metavar="width|block", help="How stages are recognised (default: width).", rich_help_panel=SEARCH),
]
Steps = Annotated[
    int | None, typer.Option(metavar="N", help="Denoising steps (default: the model's).", rich_help_panel=MODEL)
]
Guidance = Annotated[
    float | None, typer.Option(metavar="X", help="Guidance scale (default: the model's).", rich_help_panel=MODEL)
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="cpu, cuda, cuda:1 or mps (default: cuda where there is one).", rich_help_panel=MACHINE
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="float32, float16 or bfloat16 (default: float16 on cuda).", rich_help_panel=MACHINE
    ),
]
Mlruns = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Results folder (default: mlruns).", rich_help_panel=PLACE)
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="MLflow's server or database (default: MLFLOW_TRACKING_URI, else in --mlruns).",
        rich_help_panel=PLACE,
    ),
]
