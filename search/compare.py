"""`python -m search.compare A B`: two studies' picks beside each other, on the held-out prompts that both have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from configs.cli import main, visible
from search.settings import flags
from search.terminal import complete, find_study

app = typer.Typer(add_completion=False)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A finished study.", autocompletion=complete)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another finished study.", autocompletion=complete)],
    mlruns: flags.Results = Path("mlruns"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the baseline and the picks of two studies on held-out prompts."""
    folders = [find_study(mlruns, name) for name in (a, b)]
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from search.study.verdict import COUNTS
    from search.terminal.progress import ARROWS

    console = Console(highlight=False, width=None if typer.get_text_stream("stdout").isatty() else 110)
    for name in "ab":
        said = f"{name.upper()} = {found[name]['study']}, of {found[name]['model']}"
        said += f", at {found[name]['sampling']}" if found[name]["sampling"] else ""
        said += f"; its result is {found[name]['result']}" if found[name]["result"] else ""
        console.print(visible(said), markup=False)
    table = Table("candidate", "objective", "A", "B", "B - A, 95 %", "p (Holm)", "B wins", box=None)
    for row in found["rows"]:
        difference = f"{row['difference']:+.3g}"
        if row["low"] is not None:
            difference += f" [{row['low']:+.3g}, {row['high']:+.3g}]" + ("*" if row["counts"] else "")
        p = "" if row["p_holm"] is None else f"{row['p_holm']:.2g}"
        wins = "" if row["win_rate"] is None else f"{100 * row['win_rate']:.0f} %"
        objective = f"{row['objective']} {ARROWS[row['direction']]}"
        cells = (row["candidate"], objective, f"{row['a']:.4g}", f"{row['b']:.4g}", difference, p, wins)
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console.print(table)
    console.print(COUNTS, style="dim")
    console.print(f"compared {found['note']}", markup=False)


if __name__ == "__main__":
    main(app)
