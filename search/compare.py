"""`python -m search.compare A B`: two studies' picks beside each other, on the held-out prompts that both have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from configs import UserError, shortened
from configs.cli import main
from configs.console import Column, command_console, say, table
from search.settings import flags
from search.terminal import complete, find_study

app = typer.Typer(add_completion=False)


@app.command()
def compare(
    a: Annotated[str | None, typer.Argument(help="A finished study.", metavar="A", autocompletion=complete)] = None,
    b: Annotated[str | None, typer.Argument(help="Another one.", metavar="B", autocompletion=complete)] = None,
    study: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="The same as two options.", autocompletion=complete)
    ] = None,
    mlruns: flags.Results = Path("mlruns"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the baseline and the picks of two studies on held-out prompts."""
    asked = [name for name in (a, b, *(study or ())) if name is not None]
    if len(asked) != 2:
        raise UserError(f"name two finished studies, as A B: {shortened(', '.join(asked)) or 'none'} given")
    folders = [find_study(mlruns, name) for name in asked]
    from search.reporting.study_comparison import compared, side
    from search.terminal.study_status import finished, of_result

    found = compared(side(folders[0]), side(folders[1]))
    for name, folder in zip("ab", folders, strict=True):
        found[name]["result"] = of_result(folder.read_trials(), finished(folder))[1]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _show(found)


def _show(found: Mapping[str, Any]) -> None:
    from search.study.verdict import COUNTS
    from search.terminal.progress import ARROWS

    console = command_console()
    for name in "ab":
        said = f"{name.upper()} = {found[name]['study']}, of {found[name]['model']}"
        said += f", at {found[name]['sampling']}" if found[name]["sampling"] else ""
        said += f"; its result is {found[name]['result']}" if found[name]["result"] else ""
        say(console, said, indent=4)
    rows = found["rows"]
    intervals = [
        "" if row["low"] is None else f"[{row['low']:+.3g}, {row['high']:+.3g}]{'*' if row['counts'] else ''}"
        for row in rows
    ]
    wins = ["" if row["win_rate"] is None else f"{100 * row['win_rate']:.0f} %" for row in rows]
    columns = [
        Column("candidate", [row["candidate"] for row in rows]),
        Column("objective", [f"{row['objective']} {ARROWS[row['direction']]}" for row in rows]),
        Column("A", [f"{row['a']:.4g}" for row in rows], number=True, rank=2),
        Column("B", [f"{row['b']:.4g}" for row in rows], number=True, rank=2),
        Column("B - A", [f"{row['difference']:+.3g}" for row in rows], number=True),
        Column("95 %", intervals),
        Column("p (Holm)", ["" if row["p_holm"] is None else f"{row['p_holm']:.2g}" for row in rows], number=True),
        Column("B wins", wins, number=True, rank=1),
    ]
    console.print(table(console, columns))
    if any(row["low"] is not None and row["counts"] for row in rows):
        say(console, COUNTS, style="dim")
    say(console, f"compared {found['note']}")


if __name__ == "__main__":
    main(app)
