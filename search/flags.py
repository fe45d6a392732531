"""Flags that several commands have, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Results = Annotated[Path, typer.Option(metavar="DIR", help="The results folder.")]
Model = Annotated[str | None, typer.Option(metavar="MODEL", help="Name, or one of your own [shapes].")]
Loras = Annotated[
    list[str] | None, typer.Option("--lora", metavar="FILE[:0.8]", help="A LoRA, and its weight; several times.")
]
UNet = Annotated[str | None, typer.Option(metavar="FOLDER", help="A fine-tuned U-Net.")]
Input = Annotated[
    str | None, typer.Option("--input", metavar="PLACE", help="Picture or video that every image begins from.")
]
Frames = Annotated[int | None, typer.Option(metavar="N", help="Frames of a video [the model's].")]
Version = Annotated[str | None, typer.Option(metavar="v1|v2", help="FreeU's version [v2].")]
Stages = Annotated[str | None, typer.Option(metavar="width|block", help="How stages are recognised [width].")]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Denoising steps [the model's].")]
Guidance = Annotated[float | None, typer.Option(metavar="X", help="Guidance scale [the model's].")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1 or mps [cuda where there is one].")]
Dtype = Annotated[str | None, typer.Option(metavar="NAME", help="float32, float16 or bfloat16 [float16 on cuda].")]
Mlruns = Annotated[Path | None, typer.Option(metavar="DIR", help="Results folder [mlruns].")]
TrackingUri = Annotated[
    str | None,
    typer.Option(metavar="URI", help="MLflow's server or database [MLFLOW_TRACKING_URI, else in --mlruns]."),
]
