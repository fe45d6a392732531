"""A study's result: assembled for result.json, and printed."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import read_yaml
from configs.cli import python, visible
from freeu import Factors
from search.optimizer.space import value_of
from search.storage.addresses import hidden
from search.storage.mlflow_location import EXPERIMENT, LOCAL
from search.study.confirmation import BASE, COUNTS, candidates, measurable, verdict
from search.study.reproduce import versions
from search.terminal.progress import ARROWS

if TYPE_CHECKING:
    from rich.console import Console

    from search.optimizer.dimension import Dimension
    from search.optimizer.pareto_front import Front
    from search.optimizer.space import Space
    from search.settings.job import Job
    from search.storage.study_folder import StudyFolder
    from search.storage.trial_record import TrialRecord

NEAR = 0.01
"""Share of a range: a factor this near to its edge counts as at the edge."""
WIDEST = dict.fromkeys(("stop", "smooth", "offset", "width", "threshold"), 1)
"""Edges beyond which no value is possible, so they are not worth a word."""
DIGITS = 4
"""Significant digits of a column's largest number."""


def assembled(
    job: Job,
    identity: str,
    done: Sequence[TrialRecord],
    front: Front,
    found: Mapping[int, Mapping[str, Mapping[str, Any]]],
) -> dict[str, Any]:
    """result.json's content. done: the complete trials; found: the confirmation, by trial number."""
    by_number = {record.number: record for record in done}
    picks = [
        {
            "pick": pick.name,
            "number": pick.number,
            "factors": by_number[pick.number].factors.as_dict(),
            "scores": dict(found.get(pick.number, {})),
        }
        for pick in front.picks
    ]
    return {
        "study": job.config.name,
        "model": job.spec.name,
        "model_identity": identity,
        "steps": job.steps,
        "guidance": job.guidance,
        "trials": len(done),
        "objectives": job.directions,
        "front": front_rows(done, front, job.directions),
        "picks": picks,
        "versions": versions(),
        "verdict": _verdict(done, front, found, job.directions),
        "ends": at_the_ends(job.space, picks),
    }


def front_rows(done: Sequence[TrialRecord], front: Front, directions: Mapping[str, str]) -> list[dict[str, Any]]:
    """result.json's front. done: the complete trials."""
    by_number = {record.number: record for record in done}
    return [
        {
            "number": number,
            "origin": by_number[number].origin,
            "factors": by_number[number].factors.as_dict(),
            **{name: by_number[number].values[name].value for name in directions},
            "expected": {name: front.expected[name][number] for name in directions},
        }
        for number in front.numbers
    ]


def _at(space: Space, dimension: Dimension, factors: Factors, share: float) -> bool:
    """Whether a dimension that applies to the factors is at that share (0 to 1) of its range."""
    in_force = dimension.name in space.needed(space.params(factors))
    return in_force and abs(dimension.unit(value_of(factors, dimension.name)) - share) < NEAR


def at_the_ends(space: Space, picks: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on picks at the edge of a searched range; empty if there are none."""
    found = []
    for each in space.dimensions:
        for share, end in ((0.0, each.low), (1.0, each.high)):
            if each.choices or end in (0, WIDEST.get(each.name)):  # nothing lies beyond
                continue
            names = [pick["pick"] for pick in picks if _at(space, each, Factors.from_dict(pick["factors"]), share)]
            if names:
                found.append(f"{each.name} {end:g} ({', '.join(names)})")
    beyond = "Better values may lie beyond it; --space FILE widens the ranges."
    return f"At the edge of the searched range: {'; '.join(found)}. {beyond}" if found else ""


def _verdict(
    done: Sequence[TrialRecord],
    front: Front,
    found: Mapping[int, Mapping[str, Mapping[str, Any]]],
    directions: Mapping[str, str],
) -> str:
    if all(record.factors.identity for record in done):
        return "Only the baseline was tried, so nothing is known of FreeU here. Give more --trials or --minutes."
    factors = {record.number: record.factors for record in done}
    return verdict(front.picks, found, directions, len(candidates(front.picks, factors)))


def show(console: Console, job: Job, result: Mapping[str, Any]) -> None:
    """Print the front, the picks, the verdict, where the files are, and the next commands."""
    tables(console, result)
    ways_on(console, job.folder, job.config.mlruns, result, job.config.tracking_uri)


def ways_on(
    console: Console, folder: StudyFolder, mlruns: Path, result: Mapping[str, Any], uri: str | None = None
) -> None:
    """Print a study's place, and the next commands. uri: MLflow's; None is the one the study was begun with."""
    where = "" if mlruns == Path("mlruns") else f" --mlruns {shlex.quote(str(mlruns))}"
    uri = hidden(uri) if uri else str(read_yaml(folder.config).get("tracking_uri") or LOCAL)
    look = f"{python()} -m search.ui --study {folder.name}{where}"
    if uri != LOCAL:
        look = f"{uri} (experiment {EXPERIMENT}, run {folder.name})"
    lines = [
        f"results     {folder.root}",
        f"look        {look}",
        f"report      {python()} -m search.report --study {folder.name}{where}",
    ]
    picks = [pick["pick"] for pick in result["picks"] if not Factors.from_dict(pick["factors"]).identity]
    if picks:
        pick = shlex.quote(picks[-1])
        lines.append(f"export      {python()} -m search.export --study {folder.name} --pick {pick}{where}")
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
    goals = [f"{name} {ARROWS[direction]}" for name, direction in directions.items()]
    front = Table(
        "trial",
        "origin",
        "b1",
        "b2",
        "s1",
        "s2",
        *goals,
        title="The Pareto front, scores as the model expects them",
        box=None,
    )
    expected = [_column([row["expected"][name] for row in result["front"]]) for name in directions]
    for row, *values in zip(result["front"], *expected, strict=True):
        factors = [f"{row['factors'][name]:.3f}" for name in ("b1", "b2", "s1", "s2")]
        front.add_row(str(row["number"]), escape(visible(row["origin"])), *factors, *values)
    picks = Table(
        "pick", "trial", *goals, title="The picks minus the baseline, on held-out prompts, 95 % intervals", box=None
    )
    for pick in result["picks"]:
        bare = BASE if Factors.from_dict(pick["factors"]).identity else "not confirmed"
        cells = [_difference(pick["scores"].get(name), bare) for name in directions]
        picks.add_row(pick["pick"], str(pick["number"]), *cells)
    console.print()
    console.print(front)
    console.print()
    console.print(picks)
    console.print(COUNTS, style="dim")
    console.print()
    console.print(Text(visible(str(result["verdict"])), style="bold"), soft_wrap=True)
    if result.get("ends"):
        console.print(Text(visible(str(result["ends"]))), soft_wrap=True)


def _column(values: Sequence[float]) -> list[str]:
    """With as many decimals each as give the largest DIGITS digits."""
    largest = max((abs(value) for value in values), default=0.0)
    decimals = max(0, DIGITS - 1 - (math.floor(math.log10(largest)) if largest else 0))
    return [f"{value:.{decimals}f}" for value in values]


def _difference(score: Mapping[str, float] | None, bare: str) -> str:
    if score is None:
        return bare
    star = "*" if measurable(score) else ""
    return f"{score['difference']:+.3g} [{score['low']:+.3g}, {score['high']:+.3g}]{star}"
