"""A study's result: put together from its parts (as result.json holds it), and shown to a person."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import read_yaml
from configs.cli import visible
from search.confirm import BASE, candidates, measurable, verdict
from search.progress import ARROWS
from search.reproduce import versions
from search.store import EXPERIMENT, LOCAL

if TYPE_CHECKING:
    from rich.console import Console

    from search.front import Front
    from search.plan import Job
    from search.records import StudyFolder, TrialRecord


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
        "steps": job.plan.steps,
        "guidance": job.plan.guidance,
        "trials": len(done),
        "objectives": job.directions,
        "front": front_rows(done, front, job.directions),
        "picks": picks,
        "versions": versions(),
        "verdict": _verdict(done, front, found, job.directions),
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


def _verdict(
    done: Sequence[TrialRecord],
    front: Front,
    found: Mapping[int, Mapping[str, Mapping[str, Any]]],
    directions: Mapping[str, str],
) -> str:
    if all(record.factors.identity for record in done):
        return "Nothing can be said of FreeU here: only no FreeU was tried. Give more --trials or --minutes."
    factors = {record.number: record.factors for record in done}
    return verdict(front.picks, found, directions, len(candidates(front.picks, factors)))


def show(console: Console, job: Job, result: Mapping[str, Any]) -> None:
    """Print the front, the picks, the verdict, where it all lies, and what to do next."""
    tables(console, result)
    ways_on(console, job.folder, job.config.mlruns, result)


def ways_on(console: Console, folder: StudyFolder, mlruns: Path, result: Mapping[str, Any]) -> None:
    """Print where a study lies, and the commands that come next."""
    where = "" if mlruns == Path("mlruns") else f" --mlruns {shlex.quote(str(mlruns))}"
    uri = str(read_yaml(folder.config).get("tracking_uri") or LOCAL)
    look = f"python -m search.ui --study {folder.name}{where}"
    if uri != LOCAL:
        look = f"{uri} (experiment {EXPERIMENT}, run {folder.name})"
    for line in (
        f"results     {folder.root}",
        f"look        {look}",
        f"report      python -m search.report --study {folder.name}{where}",
        f"take away   python -m search.export --study {folder.name} --pick {result['picks'][-1]['pick']}{where}",
    ):
        console.print(line, markup=False, soft_wrap=True)


def tables(console: Console, result: Mapping[str, Any]) -> None:
    """The front, the picks with their held-out differences and 95 % intervals, and the verdict.

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
        title="The front, by what the model expects",
        box=None,
    )
    for row in result["front"]:
        factors = [f"{row['factors'][name]:.3f}" for name in ("b1", "b2", "s1", "s2")]
        expected = [f"{row['expected'][name]:.4g}" for name in directions]
        front.add_row(str(row["number"]), escape(visible(row["origin"])), *factors, *expected)
    picks = Table("pick", "trial", *goals, title="The picks against no FreeU, held out, 95 % (* counts)", box=None)
    for pick in result["picks"]:
        bare = "not confirmed" if any(pick["factors"][name] != 1 for name in ("b1", "b2", "s1", "s2")) else BASE
        cells = [_difference(pick["scores"].get(name), bare) for name in directions]
        picks.add_row(pick["pick"], str(pick["number"]), *cells)
    console.print()
    console.print(front)
    console.print()
    console.print(picks)
    console.print()
    console.print(Text(visible(str(result["verdict"])), style="bold"), soft_wrap=True)


def _difference(score: Mapping[str, float] | None, bare: str) -> str:
    if score is None:
        return bare
    star = "*" if measurable(score) else ""
    return f"{score['difference']:+.3g} [{score['low']:+.3g}, {score['high']:+.3g}]{star}"
