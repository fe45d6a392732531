"""Do the confirmation's numbers keep their word? `python benchmarks/calibration.py`, a quarter of an hour.

The table of benchmarks/record.py has two images of each prompt for each candidate. A study's held-out prompts are drawn
from the table's with replacement, so the truth is the mean of all of them. A study is confirmed as a real one is
(`search.study.looks`, `confirmation.decided`): look by look, with Holm's correction over all rows. Printed: how often
95 % intervals hold the truth, of a sample as it is, of distances of sets, and at the end of a study; how often a study
without any true difference has a star (differences with the sign of each prompt at random), also over five
confirmations of one that goes on; how often a true gain gets one; and the share of the planned images that was drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import typer

from benchmarks.replay import TABLE
from freeu import Factors
from metrics import sequential, stats
from search.optimizer.pareto_front import Front, Pick
from search.storage import TrialRecord, Value
from search.study import confirmation
from search.study.looks import LEVEL, Looks, ends

SCORES = ("clip", "aesthetic")
FINALISTS, ROWS = 2, 6
GAIN = 0.2
SEARCHED, TRIED = 48, 12
"""Prompts of a search, and the candidates within the guardrails that it has to choose finalists from."""


@dataclass(frozen=True)
class Table:
    """differences: score → (candidates, 2, prompts) to the baseline. features: (candidates, 2, prompts, d). within: the
    candidates within the guardrails, but for the baseline.
    """

    differences: dict[str, np.ndarray]
    features: np.ndarray
    within: np.ndarray


@dataclass(frozen=True)
class Found:
    """Of a study: which rows have a star; whether each interval holds the truth; the share of the images drawn."""

    stars: np.ndarray
    held: list[bool]
    share: float


def main(
    prompts: Annotated[int, typer.Option(min=4, help="Held-out prompts.")] = 135,
    seeds: Annotated[int, typer.Option(min=1, max=2, help="Images of each prompt, at most.")] = 2,
    runs: Annotated[int, typer.Option(min=1, help="Studies for each figure.")] = 300,
    table: Annotated[Path, typer.Option(help="What benchmarks/record.py wrote.")] = TABLE,
    only: Annotated[str | None, typer.Option(help="Figures whose name begins with this.")] = None,
) -> None:
    """Simulate and print."""
    known, rng = read(table), np.random.default_rng(0)
    rows = ends(prompts, prompts, 1, seeds * prompts)
    best = known.within[np.argsort(-known.differences["clip"].mean((1, 2))[known.within])[:8]]
    outside = np.setdiff1d(np.arange(1, len(known.features)), known.within)
    world = World(known, prompts, rng)

    def studied(some: np.ndarray | None, gain: Callable[[int], float], row: bool) -> str:
        found = [world.study(world.finalists() if some is None else some, Looks(1, rows), gain) for _ in range(runs)]
        shares = told([bool(each.stars[0] if row else each.stars.any()) for each in found])
        held = told([inside for each in found for inside in each.held])
        return f"a star {shares}, coverage {held}, images {np.mean([each.share for each in found]):.2f} of {rows[-1]}"

    def covered(name: str, some: np.ndarray) -> str:
        return told([world.covered(name, int(n), seeds) for n in rng.choice(some, 5 * runs)])

    def covered_sets(name: str) -> str:
        return told(world.sets(name, known.within[:: len(known.within) // 8][:runs], runs))

    def five() -> str:
        plans = [Looks(number, rows) for number in range(1, 6)]
        return told([any(world.study(known.within, plan).stars.any() for plan in plans) for _ in range(runs)])

    resolution = {int(n): world.resolution(int(n), Looks(1, rows)) for n in known.within}
    figures: dict[str, Callable[[], str]] = {
        **{
            f"coverage, {name}, {said}": partial(covered, name, some)
            for name in SCORES
            for said, some in (("within", known.within), ("outside", outside))
        },
        "coverage, selected finalists": lambda: told(
            [inside for _ in range(runs) for inside in world.selected(Looks(1, rows)).held]
        ),
        "no difference": lambda: studied(known.within, lambda _: 0.0, False),
        "no difference, five confirmations": five,
        f"a gain of {GAIN} in clip, finalists": lambda: studied(None, lambda _: GAIN, True),
        f"a gain of {GAIN} in clip, anybody": lambda: studied(known.within, lambda _: GAIN, True),
        f"a gain of {GAIN} in clip, the best 8": lambda: studied(best, lambda _: GAIN, True),
        "a gain as large as the resolution": lambda: studied(known.within, resolution.__getitem__, True),
        **{f"coverage, {name}": partial(covered_sets, name) for name in ("fid", "kid")},
    }
    for name, figure in figures.items():
        if name.startswith(only or ""):
            print(f"{name:<36} {figure()}", flush=True)


def read(file: Path) -> Table:
    """The table of benchmarks/record.py."""
    with np.load(file) as kept:
        differences = {name: (kept[name] - kept[name][0]).astype(float) for name in SCORES}
        rails, features = kept["guardrails"].astype(float), kept["features"].astype(float)
    spread = np.sqrt(np.square(rails[0, 0] - rails[0, 1]).mean(0) / 2)
    within = (np.abs((rails[:, 0] - rails[0, 0]).mean(1) / spread) <= 1).all(1)
    return Table(differences, features, np.flatnonzero(within)[1:])


def told(found: list[bool]) -> str:
    """A share with its standard error."""
    share = float(np.mean(found))
    return f"{share:.3f} ± {np.sqrt(share * (1 - share) / len(found)):.3f}"


class World:
    """Studies on so many held-out prompts, drawn from the table's."""

    def __init__(self, table: Table, prompts: int, rng: np.random.Generator) -> None:
        self.table, self.prompts, self.rng = table, prompts, rng
        self.known = table.features.shape[2]

    def study(self, some: np.ndarray, plan: Looks, gain: Callable[[int], float] = lambda _: 0.0) -> Found:
        """Two of `some` candidates, without any true difference but gain(candidate) in clip's first row.

        Differences of finalists share prompts, and get their signs prompt by prompt. A third objective is normal noise.
        """
        places, seeds, clusters = self._drawn(plan.ends[-1])
        signs = self.rng.choice([-1.0, 1.0], size=self.prompts)[clusters]
        rows: list[np.ndarray] = []
        truth = [0.0] * ROWS
        for candidate in self.rng.choice(some, FINALISTS, replace=False):
            for name in SCORES:
                population = self.table.differences[name][candidate]
                if not rows:
                    truth[0] = gain(int(candidate))
                rows.append(signs * (population[seeds, places] - population.mean()) + truth[len(rows)])
            rows.append(self.rng.normal(size=len(signs)))
        return self._confirmed(rows, truth, clusters, plan)

    def finalists(self) -> np.ndarray:
        """The two that a study would confirm of some candidates, by their scores on a search's prompts."""
        tried = self.rng.choice(self.table.within, TRIED, replace=False)
        places, seeds = self.rng.integers(self.known, size=SEARCHED), self.rng.integers(2, size=SEARCHED)
        records, expected = [], {name: {0: 0.0} for name in SCORES}
        for number in (0, *map(int, tried)):
            values = {}
            for name in SCORES:
                each = self.table.differences[name][number][seeds, places]
                error = float(each.std(ddof=1)) / SEARCHED**0.5
                expected[name][number] = float(each.mean())
                values[name] = Value(float(each.mean()), error, SEARCHED, "up", error)
            factors = Factors(1 + number / 1000, 1, 1, 1)  # 0 is the baseline's
            records.append(TrialRecord(number, factors, "gp", "COMPLETE", values, {}, SEARCHED))
        front = Front(expected, tuple(expected["clip"]), tuple(Pick(str(n), n) for n in expected["clip"]))
        directions = dict.fromkeys(SCORES, "up")
        chosen = confirmation.finalists(front.picks, records, front, directions, FINALISTS, self.prompts)
        return np.array([*chosen])

    def selected(self, plan: Looks) -> Found:
        """A search's finalists, with their own true differences."""
        places, seeds, clusters = self._drawn(plan.ends[-1])
        each = [self.table.differences[name][n] for n in self.finalists() for name in SCORES]
        rows = [population[seeds, places] for population in each]
        return self._confirmed(rows, [float(population.mean()) for population in each], clusters, plan)

    def covered(self, name: str, candidate: int, seeds: int) -> bool:
        """Whether the interval of all prompts, with so many seeds each, holds the candidate's mean."""
        places, seed, clusters = self._drawn(seeds * self.prompts)
        population = self.table.differences[name][candidate]
        pair = stats.paired(population[seed, places], 0.0 * places, clusters.tolist(), self.rng)
        return bool(pair.low <= population.mean() <= pair.high)

    def sets(self, name: str, some: np.ndarray, runs: int) -> list[bool]:
        """Whether intervals of a distance of sets hold what it is on average over sets of that size."""
        from freeu.models import load_spec
        from metrics import registry

        spec = load_spec("shapes")
        metric: Any = registry.build(name, spec.scorers, "cpu", spec.base, spec.reference)
        held: list[bool] = []
        for candidate in some:
            pairs = []
            for _ in range(max(2, runs // len(some))):
                places, seeds, _ = self._drawn(self.prompts)
                a, b = (self.table.features[number][seeds, places] for number in (candidate, 0))
                distances = getattr(metric, "distances", None)
                pairs.append(stats.paired_set(a, b, metric.distance, range(len(a)), self.rng, distances))
            truth = np.mean([pair.mean for pair in pairs])
            held += [bool(pair.low <= truth <= pair.high) for pair in pairs]
        return held

    def resolution(self, candidate: int, plan: Looks) -> float:
        """What the verdict states where a study goes to its last look: of clip, with the true spread."""
        population = self.table.differences["clip"][candidate]
        away = population - population.mean()
        shared = max(0.0, float((away[0] * away[1]).mean()))
        error = np.sqrt(shared / self.prompts + (np.square(away).mean() - shared) / plan.ends[-1])
        return stats.detectable(float(error), self.prompts, sequential.bounds(plan.level / ROWS, plan.times)[-1])

    def _drawn(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(place in the table, seed, held-out prompt) of so many images."""
        clusters = np.arange(count) % self.prompts
        places, first = (self.rng.integers(most, size=self.prompts)[clusters] for most in (self.known, 2))
        return places, (first + np.arange(count) // self.prompts) % 2, clusters

    def _confirmed(self, rows: list[np.ndarray], truth: list[float], clusters: np.ndarray, plan: Looks) -> Found:
        for look, end in enumerate(plan.ends):
            here = clusters[:end].tolist()
            pairs = [stats.paired(row[:end], 0 * row[:end], here, self.rng, confirmation.FLIPS) for row in rows]
            ps = [sequential.adjusted(pair.p, look, plan.times) for pair in pairs]
            adjusted = stats.holm(ps) * LEVEL / plan.level
            told = [{"p": pair.p, "p_holm": p} for pair, p in zip(pairs, adjusted, strict=True)]
            if confirmation.decided(told, plan, look):
                break
        held = [bool(pair.low <= true <= pair.high) for pair, true in zip(pairs, truth, strict=True)]
        return Found(adjusted < LEVEL, held, end / plan.ends[-1])


if __name__ == "__main__":
    typer.run(main)
