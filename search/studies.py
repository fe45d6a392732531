"""`python -m search.studies`: the studies of a results folder, and how each stands."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from configs.cli import main
from configs.console import Column, command_console, say, table, tell
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
        tell(f"{mlruns} holds no study", err=True)
        return
    console = command_console()
    trials = [f"{each.complete}/{each.trials}" + (f", {each.failed} failed" if each.failed else "") for each in found]
    verdicts = ["" if each.state == "damaged" else each.verdict.partition(":")[0] for each in found]
    changed = [_local(each.changed) for each in found]
    columns = [
        Column("study", [each.study for each in found]),
        Column("state", [each.state for each in found]),
        Column("model", [each.model for each in found], rank=2),
        Column("trials", trials, number=True),
        Column("objectives", [", ".join(each.objectives) for each in found], rank=3),
        Column("changed", changed, rank=1),
        Column("verdict", verdicts),
    ]
    console.print(table(console, columns))
    for each in found:
        if each.state == "damaged":
            say(console, f"{each.study} is damaged: {each.verdict}")


def _local(moment: str) -> str:
    """A moment in UTC by the clock of this machine; "" for none."""
    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}" if moment else ""


if __name__ == "__main__":
    main(app)
