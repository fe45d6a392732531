"""A study's result in the terminal: the front, the picks, the verdict, and the ways on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from configs.cli import typed
from configs.console import Column, fits, say, table
from freeu import Factors
from search.storage.addresses import hidden
from search.storage.mlflow_location import EXPERIMENT, LOCAL
from search.study import cautions, rival, set_distances
from search.study.held_out import BASE
from search.study.verdict import CHANCE, COUNTS, may_be_chance, measurable
from search.terminal.progress import ARROWS, decimals

if TYPE_CHECKING:
    from rich.console import Console

    from search.settings.job import Job
    from search.storage import StudyFolder

FACTORS = ("b1", "b2", "s1", "s2")
TITLE = "italic"
ROWS = 10
"""Rows of the front that the terminal shows."""
DIGITS = 4
"""Significant digits of a column's largest number."""


class Row(NamedTuple):
    """Of a table of differences. against: what the pick is compared with; "" is the baseline."""

    pick: str
    against: str
    scores: Mapping[str, Any]


def show(console: Console, job: Job, result: Mapping[str, Any]) -> None:
    """Print the front, the picks, the verdict, where the files are, and the next commands."""
    tables(console, result)
    ways_on(console, job.folder, job.config.mlruns, result, job.config.tracking_uri)


def ways_on(
    console: Console, folder: StudyFolder, mlruns: Path, result: Mapping[str, Any], uri: str | None = None
) -> None:
    """Print a study's place, and the next commands. uri: MLflow's; None is the one the study was begun with."""
    where = "" if mlruns == Path("mlruns") else f" --mlruns {shlex.quote(str(mlruns))}"
    uri = uri or str(folder.read_settings().get("tracking_uri") or LOCAL)
    look = f"{typed('ui')} --study {folder.name}{where}"
    if uri != LOCAL:
        look = f"{hidden(uri)} (experiment {EXPERIMENT}, run {folder.name})"
    lines = [
        f"results     {folder.root}",
        f"look        {look}",
        f"report      {typed('report')} --study {folder.name}{where}",
    ]
    pick = result.get("take_away")
    if pick is not None:
        lines.append(f"export      {typed('export')} --study {folder.name} --pick {shlex.quote(str(pick))}{where}")
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
    found = _named([pick for pick in result["picks"] if pick["scores"]])
    if found:
        said = "The picks minus the baseline, on held-out prompts, 95 % intervals"
        _differences(console, said, [Row(name, "", pick["scores"]) for name, pick in found], goals)
        rivals = [(name, each) for name, pick in found if (each := rival.of_pick(pick)) is not None]
        rows = [Row(name, f"{each['named']} (trial {each['number']})", each["scores"]) for name, each in rivals]
        _differences(console, "The picks minus the best guidance without FreeU", rows, goals)
        _judges(console, result)
        compared = list(rival.compared([pick for _, pick in found]))
        for said, told in ((COUNTS, any(map(_star, compared))), (CHANCE, any(map(may_be_chance, compared)))):
            if told:
                say(console, said, style="dim")
        for line in set_distances.lines(result):
            say(console, line, style="dim")
        rest = _named([pick for pick in result["picks"] if not pick["scores"]])
        for why, off in (("the baseline itself", True), ("not confirmed", False)):
            names = [name for name, pick in rest if Factors.from_dict(pick["factors"]).identity == off]
            if names:
                say(console, f"{why}: {', '.join(names)}", indent=4)
    console.print()
    say(console, str(result["verdict"]), style="bold")
    for line in cautions.beside(result):
        say(console, line)
    if result.get("ends"):
        say(console, str(result["ends"]))


def _named(picks: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each trial that was picked once, with what it was picked as: "best-clip = knee (trial 7)"."""
    names: dict[int, list[str]] = {}
    for pick in picks:
        names.setdefault(pick["number"], []).append(pick["pick"])
    first = {pick["number"]: pick for pick in reversed(picks)}
    return [(f"{' = '.join(each)} (trial {number})", first[number]) for number, each in names.items()]


def _differences(
    console: Console, title: str, rows: Sequence[Row], goals: Mapping[str, str], other: str = "best without FreeU"
) -> None:
    """A line for each row, or where that is too wide, for each objective. other: the head of what they are against."""
    if not rows:
        return
    cells = [[_difference(row.scores.get(name)) for name in goals] for row in rows]
    columns = [Column("pick", [row.pick for row in rows])]
    if any(row.against for row in rows):
        columns.append(Column(other, [row.against for row in rows]))
    for place, goal in enumerate(goals.values()):
        columns.append(Column(goal, [" ".join(each[place]) for each in cells]))
    made = table(console, columns)
    if not fits(console, made):
        lines: list[tuple[str, str, str]] = []
        for row, each in zip(rows, cells, strict=True):
            heads = (f"{row.pick} - {row.against}" if row.against else row.pick).replace(" = ", " =\n").split("\n")
            lines += [(head, "", "") for head in heads]  # a pick's names below each other, which makes no column wide
            lines += [(f"  {goal}", *one) for goal, one in zip(goals.values(), each, strict=True)]
        first, second, third = (list(each) for each in zip(*lines, strict=True))
        made = table(console, [Column("pick", first), Column("difference", second, number=True), Column("95 %", third)])
    console.print()
    say(console, title, style=TITLE)
    console.print(made)


def _judges(console: Console, result: Mapping[str, Any]) -> None:
    """What the search never read, for each finalist: against the baseline, then against its rival."""
    goals = {name: f"{name} {ARROWS[direction]}" for name, direction in result.get("judges", {}).items()}
    rows: list[Row] = []
    for named, pick in _named(result["picks"]):
        sides = [(BASE, pick.get("judges", {}))]
        if (against := rival.of_pick(pick)) is not None:
            sides.append((against["named"], against.get("judges", {})))
        rows += [Row(named, other, scores) for other, scores in sides if scores]
    said = "A second opinion: the picks on judges that the search never read, corrected among themselves"
    _differences(console, said, rows, goals, "minus")


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


def _difference(score: Mapping[str, float] | None) -> tuple[str, str]:
    """With its interval, and a star where it is significant."""
    if score is None:
        return "not confirmed", ""
    if score["low"] is None:
        return f"{score['difference']:+.3g}", ""
    return f"{score['difference']:+.3g}", f"[{score['low']:+.3g}, {score['high']:+.3g}]{_star(score)}"


def _star(score: Mapping[str, Any]) -> str:
    return "*" if score["low"] is not None and measurable(score) else ""
