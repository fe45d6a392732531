"""`python -m search.export`: takes a study's factors away as a preset, in the format of a tool.

What a format can't honour (freeu.presets knows) is refused with the reason, never written silently wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import UserError, unknown
from search.cli import main
from search.records import StudyFolder, TrialRecord, replacing, studies

if TYPE_CHECKING:
    from freeu.presets import Preset

app = typer.Typer(add_completion=False)


@app.command()
def export(
    study: Annotated[str, typer.Option(help="The study's name.")],
    pick: Annotated[
        str, typer.Option(help="knee, best-clip, best-aesthetic, best-fid, or the number of a trial.")
    ] = "knee",
    format: Annotated[str, typer.Option(help="yaml (ours), diffusers or comfyui.")] = "yaml",
    out: Annotated[Path | None, typer.Option(help="The file to write; without it the preset is printed.")] = None,
    mlruns: Annotated[Path, typer.Option(help="The results folder.")] = Path("mlruns"),
) -> None:
    """Write a preset from a study's pick."""
    from freeu.presets import render

    text = render(preset(find(mlruns, study), pick), format)
    if out is None:
        typer.echo(text)
        return
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file in it")
    with replacing(out) as temporary:
        temporary.write_text(text, "utf-8")
    typer.echo(f"wrote {out}")


def find(mlruns: Path, study: str) -> StudyFolder:
    """The study's folder. Raises UserError with the nearest name where there is none."""
    known = studies(mlruns)
    if not known:
        raise UserError(f"{mlruns} holds no study yet: run `python -m search.run`, or name another with --mlruns")
    if study not in known:
        raise unknown("study", study, known)
    return StudyFolder(mlruns, study)
