"""`python -m search.studies`: the studies of a results folder, and how each stands."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from configs.cli import main, visible
from search.settings import flags
from search.storage import StudyFolder
from search.storage import studies as names
from search.terminal.study_status import standing

app = typer.Typer(add_completion=False)


@app.command()
def studies(
    mlruns: flags.Results = Path("mlruns"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the studies, with their state and verdict."""
    found = [standing(StudyFolder(mlruns, name)) for name in names(mlruns)]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    if not found:
        typer.echo(f"{mlruns} holds no study", err=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("study", "state", "model", "trials", "objectives", "changed", "verdict", box=None)
    for each in found:
        trials = f"{each.complete}/{each.trials}" + (f", {each.failed} failed" if each.failed else "")
        verdict = each.verdict if each.state == "damaged" else each.verdict.partition(":")[0]
        changed = each.changed.replace("T", " ").removesuffix(":00+00:00")[:16]
        cells = (each.study, each.state, each.model, trials, ", ".join(each.objectives), changed, verdict)
        table.add_row(*(Text(visible(cell)) for cell in cells))
    Console(width=None if typer.get_text_stream("stdout").isatty() else 160).print(table)


if __name__ == "__main__":
    main(app)
