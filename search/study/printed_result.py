"""A study's result in the terminal: the front, the picks, the verdict, and the ways on."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import read_yaml
from configs.cli import python, visible
from freeu import Factors
from search.storage.addresses import hidden
from search.storage.mlflow_location import EXPERIMENT, LOCAL
from search.study import rival, set_distances
from search.study.held_out import BASE
from search.study.verdict import COUNTS, measurable
from search.terminal.progress import ARROWS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from search.settings.job import Job
    from search.storage import StudyFolder

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
        console.print(visible(line), markup=False, soft_wrap=True)


def tables(console: Console, result: Mapping[str, Any]) -> None:
    """Print the front, the picks with their held-out differences and 95 % intervals, and the verdict.

    result: as result.json holds it.
    """
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    directions: Mapping[str, str] = result["objectives"]
    goals = [escape(visible(f"{name} {ARROWS[direction]}")) for name, direction in directions.items()]
    front = Table(
        "trial",
        "origin",
        "b1",
        "b2",
        "s1",
        "s2",
        *goals,
        title="The Pareto front as the model expects it, ± the error of its difference from the baseline",
        box=None,
    )
    shown = shown_rows(result["front"], result.get("baseline"))
    for row, *values in zip(shown, *(_expected(shown, name) for name in directions), strict=True):
        factors = [f"{row['factors'][name]:.3f}" for name in ("b1", "b2", "s1", "s2")]
        front.add_row(str(row["number"]), escape(visible(row["origin"])), *factors, *values)
    picks = Table(
        "pick", "trial", *goals, title="The picks minus the baseline, on held-out prompts, 95 % intervals", box=None
    )
    for pick in result["picks"]:
        bare = BASE if Factors.from_dict(pick["factors"]).identity else "not confirmed"
        cells = [_difference(pick["scores"].get(name), bare) for name in directions]
        picks.add_row(escape(visible(pick["pick"])), str(pick["number"]), *cells)
    console.print()
    console.print(front)
    left = {row["number"] for row in result["front"]} - {row["number"] for row in shown}
    if left:
        said = f"{len(left)} more trials of the front are in result.json and in the report"
        console.print(said, style="dim", highlight=False)
    rivals = Table(
        "pick", "best without FreeU", *goals, title="The picks minus the best guidance without FreeU", box=None
    )
    for pick in result["picks"]:
        if (found := rival.of_pick(pick)) is not None:
            cells = [_difference(found["scores"].get(name), "not confirmed") for name in directions]
            against = escape(visible(f"{found['named']} (trial {found['number']})"))
            rivals.add_row(escape(visible(pick["pick"])), against, *cells)
    judges = _judges(result)
    confirmed = any(pick["scores"] for pick in result["picks"])  # else each is the baseline, or was not confirmed
    for table in [each for each in ([picks] if confirmed else []) + [rivals, judges] if each.row_count]:
        console.print()
        console.print(table)
    if confirmed:
        console.print(COUNTS, style="dim")
        for line in set_distances.lines(result):
            console.print(visible(line), style="dim", markup=False, highlight=False, soft_wrap=True)
    console.print()
    console.print(Text(visible(str(result["verdict"])), style="bold"), soft_wrap=True)
    if result.get("ends"):
        console.print(Text(visible(str(result["ends"]))), soft_wrap=True)


def _judges(result: Mapping[str, Any]) -> Table:
    """What the search never read, for each finalist: against the baseline, then against its rival."""
    from rich.markup import escape
    from rich.table import Table

    directions: Mapping[str, str] = result.get("judges", {})
    titles = [escape(visible(f"{name} {ARROWS[direction]}")) for name, direction in directions.items()]
    title = "A second opinion: the picks on judges that the search never read, corrected among themselves"
    table = Table("pick", "minus", *titles, title=title, box=None)
    for pick in result["picks"]:
        against = rival.of_pick(pick)
        sides = [(BASE, pick.get("judges", {}))]
        sides += [] if against is None else [(against["named"], against.get("judges", {}))]
        for other, rows in sides:
            if rows:
                cells = [_difference(rows.get(name), "") for name in directions]
                table.add_row(escape(visible(pick["pick"])), escape(visible(other)), *cells)
    return table


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


def _expected(rows: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """An objective's column, with errors where they are known; the baseline's own difference is none."""
    values = _column([row["expected"][name] for row in rows])
    errors = [(row.get("errors") or {}).get(name) for row in rows]
    return [f"{value} ± {error:.2g}" if error else value for value, error in zip(values, errors, strict=True)]


def _column(values: Sequence[float]) -> list[str]:
    """With as many decimals each as give the largest DIGITS digits."""
    largest = max((abs(value) for value in values), default=0.0)
    decimals = max(0, DIGITS - 1 - (math.floor(math.log10(largest)) if largest else 0))
    return [f"{value:.{decimals}f}" for value in values]


def _difference(score: Mapping[str, float] | None, bare: str) -> str:
    if score is None:
        return bare
    star = "*" if measurable(score) else ""
    if score["low"] is None:
        return f"{score['difference']:+.3g}"
    return f"{score['difference']:+.3g} [{score['low']:+.3g}, {score['high']:+.3g}]{star}"
