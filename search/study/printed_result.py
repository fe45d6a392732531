"""A study's result in the terminal: the front, the picks, the verdict, and the ways on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import read_yaml
from configs.cli import python
from configs.console import Column, fits, say, table
from freeu import Factors
from search.storage.addresses import hidden
from search.storage.mlflow_location import EXPERIMENT, LOCAL
from search.study import rival
from search.study.held_out import BASE
from search.study.verdict import COUNTS, measurable
from search.terminal.progress import ARROWS, decimals

if TYPE_CHECKING:
    from rich.console import Console

    from search.settings.job import Job
    from search.storage import StudyFolder

FACTORS = ("b1", "b2", "s1", "s2")
TITLE, UNCONFIRMED = "italic", "not confirmed"
Row = tuple[str, str, Mapping[str, Any], str]
"""Of a table of differences: the pick, what it is compared with, its scores, and what stands where it has none."""
ROWS = 10
"""Rows of the front that the terminal shows."""
DIGITS = 4
"""Significant digits of a column's largest number."""


def show(console: Console, job: Job, result: Mapping[str, Any]) -> None:
    """Print the front, the picks, the verdict, where the files are, and the next commands."""
    tables(console, result)
    ways_on(console, job.folder, job.config.mlruns, result, job.config.tracking_uri)


def ways_on(
    console: Console, folder: StudyFolder, mlruns: Path, result: Mapping[str, Any], uri: str | None = None
) -> None:
    """Print a study's place, and the next commands. uri: MLflow's; None is the one the study was begun with."""
    where = "" if mlruns == Path("mlruns") else f" --mlruns {shlex.quote(str(mlruns))}"
    uri = uri or str(read_yaml(folder.config).get("tracking_uri") or LOCAL)
    look = f"{python()} -m search.ui --study {folder.name}{where}"
    if uri != LOCAL:
        look = f"{hidden(uri)} (experiment {EXPERIMENT}, run {folder.name})"
    lines = [
        f"results     {folder.root}",
        f"look        {look}",
        f"report      {python()} -m search.report --study {folder.name}{where}",
    ]
    pick = result.get("take_away")
    if pick is not None:
        lines.append(
            f"export      {python()} -m search.export --study {folder.name} --pick {shlex.quote(str(pick))}{where}"
        )
    elif "take_away" in result:
        lines.append("export      nothing: keep FreeU off")
    for line in lines:
        say(console, line, indent=12, joint=" \\")


def tables(console: Console, result: Mapping[str, Any]) -> None:
    """Print the front, the picks with their held-out differences and 95 % intervals, and the verdict.

    result: as result.json holds it.
    """
    goals = {name: f"{name} {ARROWS[direction]}" for name, direction in result["objectives"].items()}
    shown = shown_rows(result["front"], result.get("baseline"))
    columns = [
        Column("trial", [str(row["number"]) for row in shown], number=True),
        Column("origin", [row["origin"] for row in shown], rank=2),
        *(Column(name, [f"{row['factors'][name]:.2f}" for row in shown], number=True) for name in FACTORS),
    ]
    for name, goal in goals.items():
        errors = [(row.get("errors") or {}).get(name) for row in shown]
        columns.append(Column(goal, _column([row["expected"][name] for row in shown]), number=True))
        if any(errors):
            columns.append(Column("±", [f"{error:.2g}" if error else "" for error in errors], rank=1))
    console.print()
    say(
        console,
        "The Pareto front as the model expects it, ± the error of its difference from the baseline",
        style=TITLE,
    )
    console.print(table(console, columns))
    left = {row["number"] for row in result["front"]} - {row["number"] for row in shown}
    if left:
        more = "1 more trial of the front is" if len(left) == 1 else f"{len(left)} more trials of the front are"
        say(console, f"{more} in result.json and in the report", style="dim")
    found = [pick for pick in result["picks"] if pick["scores"]]  # else each is the baseline, or was not confirmed
    if found:
        named = [(f"{pick['pick']} (trial {pick['number']})", pick) for pick in result["picks"]]
        said = "The picks minus the baseline, on held-out prompts, 95 % intervals"
        _differences(console, said, [(name, "", pick["scores"], _bare(pick)) for name, pick in named], goals)
        rivals = [(name, each) for name, pick in named if (each := rival.of_pick(pick)) is not None]
        said = "The picks minus the best guidance without FreeU"
        rows = [
            (name, f"{each['named']} (trial {each['number']})", each["scores"], UNCONFIRMED) for name, each in rivals
        ]
        _differences(console, said, rows, goals)
        say(console, COUNTS, style="dim")
    console.print()
    say(console, str(result["verdict"]), style="bold")
    if result.get("ends"):
        say(console, str(result["ends"]))


def _differences(console: Console, title: str, rows: Sequence[Row], goals: Mapping[str, str]) -> None:
    """A line for each row, or where that is too wide, for each of its objectives."""
    if not rows:
        return
    against = [Column("best without FreeU", [row[1] for row in rows])] if any(row[1] for row in rows) else []
    cells = [[_difference(scores.get(name), bare) for _, _, scores, bare in rows] for name in goals]
    columns = [Column("pick", [row[0] for row in rows]), *against]
    columns += [Column(goal, each) for goal, each in zip(goals.values(), cells, strict=True)]
    made = table(console, columns)
    if not fits(console, made):
        below = [""] * (len(goals) - 1)
        columns = [
            Column(each.head, [one for cell in each.cells for one in (cell, *below)])
            for each in columns[: 1 + len(against)]
        ]
        columns.append(Column("objective", list(goals.values()) * len(rows)))
        columns.append(Column("difference", [each for row in zip(*cells, strict=True) for each in row]))
        made = table(console, columns)
    console.print()
    say(console, title, style=TITLE)
    console.print(made)


def shown_rows(
    front: Sequence[Mapping[str, Any]], base: Mapping[str, Any] | None, most: int = ROWS
) -> list[Mapping[str, Any]]:
    """The baseline's row, then those of the front, at most so many in all, spread evenly over the first objective."""
    first = [] if base is None else [base]
    others = [row for row in front if not Factors.from_dict(row["factors"]).identity]
    room = most - len(first)
    if len(others) <= room:
        return [*first, *others]
    by = next(iter(others[0]["expected"]))
    others.sort(key=lambda row: float(row["expected"][by]))
    return [*first, *(others[round(place * (len(others) - 1) / (room - 1))] for place in range(room))]


def _column(values: Sequence[float]) -> list[str]:
    """With as many decimals each as give the largest DIGITS digits."""
    behind = decimals(max((abs(value) for value in values), default=0.0), DIGITS)
    return [f"{value:.{behind}f}" for value in values]


def _bare(pick: Mapping[str, Any]) -> str:
    """What stands where a pick has no difference."""
    return BASE if Factors.from_dict(pick["factors"]).identity else UNCONFIRMED


def _difference(score: Mapping[str, float] | None, bare: str) -> str:
    if score is None:
        return bare
    star = "*" if measurable(score) else ""
    if score["low"] is None:
        return f"{score['difference']:+.3g}"
    return f"{score['difference']:+.3g} [{score['low']:+.3g}, {score['high']:+.3g}]{star}"
