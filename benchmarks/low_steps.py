"""What `--low-steps` brings: `python benchmarks/low_steps.py`, on the table of benchmarks/record.py; a minute.

The study's own rules (search/study/racing.py, fewer_steps.py) race the table's candidates in a random order, without
and with a first rung of fewer steps, until so many images are made; an image of few steps counts as its share of one.
The table has no images of few steps: their scores are planted, those of all steps on the first rung's prompts and noise
of so much that both correlate as asked for. Recommended is the front of those that reached all prompts; what counts is
its hypervolume on the run of the prompts that no search sees, in shares of the whole front's.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import typer

from benchmarks.replay import MEANS, SEARCH, TABLE, TRUE
from freeu import IDENTITY, Factors
from search.evaluation import Evaluation
from search.optimizer.pareto_front import hypervolume, nondominated
from search.settings.rungs import rungs
from search.storage import TrialRecord
from search.study.fewer_steps import Draft, Fidelity
from search.study.racing import Rung

DIRECTIONS = dict.fromkeys(MEANS, "up")
PLAIN = math.nan
"""In place of a correlation: no few steps."""


@dataclass(frozen=True)
class World:
    """scores: (candidates, prompts, objectives) of the run that a search sees, the baseline first; truths: (candidates,
    objectives) of the other.
    """

    scores: np.ndarray
    truths: np.ndarray

    @staticmethod
    def read(table: Path) -> World:
        """The table's clip and aesthetic."""
        with np.load(table) as kept:
            both = np.stack([kept[name].astype(float) for name in MEANS], axis=-1)
        return World(both[:, SEARCH], both[:, TRUE].mean(1))

    def estimated(self, n: int) -> np.ndarray:
        """(candidates, objectives): on all prompts, by the difference to the baseline on the first n."""
        base = self.scores[0]
        return np.asarray(base.mean(0) + (self.scores[:, :n] - base[:n]).mean(1))

    def worth(self, numbers: list[int]) -> float:
        """The true hypervolume of some candidates, as a share of the whole front's."""
        front = self.truths[nondominated(self.truths)]
        reference = front.min(0) - 0.1 * np.ptp(front, axis=0)
        return hypervolume(self.truths[numbers], reference) / hypervolume(front, reference)


def raced(world: World, correlation: float, share: float, images: float, seed: int) -> tuple[float, int, bool]:
    """(worth of what is recommended, candidates tried, whether few steps were in use at the end)."""
    random = np.random.default_rng(seed)
    ends = rungs(world.scores.shape[1])
    at = {n: world.estimated(n) for n in ends}
    order = random.permutation(np.arange(1, len(world.scores)))
    fidelity: Fidelity | None = None
    made = float(ends[-1])
    if not math.isnan(correlation):
        first = at[ends[0]]
        at[-ends[0]] = first + math.sqrt(1 / correlation**2 - 1) * first.std(0) * random.standard_normal(first.shape)
        low = Evaluation({}, ends[-1], unet_evaluations=round(100 * share * ends[-1]))
        fidelity, made = Fidelity(Draft(low), ends[0], MEANS), made + share * ends[-1]
    records = [TrialRecord(0, IDENTITY, "baseline", "COMPLETE", images=ends[-1], unet_evaluations=100 * ends[-1])]
    held: dict[int, Rung] = {n: Rung(DIRECTIONS) for n in at}
    reached: dict[int, dict[int, dict[str, float]]] = {n: {} for n in at}

    def goes_on(number: int, n: int) -> bool:
        reached[n][number] = dict(zip(MEANS, map(float, at[n][order[number - 1]]), strict=True))
        held[n].hold(reached[n])
        return held[n].goes_on(number)

    for number in range(1, len(order) + 1):
        full, left = 0, ends
        if fidelity is not None and fidelity.wanted:
            made += share * ends[0]
            better = goes_on(number, fidelity.rung)
            if fidelity.usable:  # few steps were its first rung
                left = ends[1:] if better else ()
        for end in left:
            made, full = made + end - full, end
            if not goes_on(number, end):
                break
        mine = {n: reached[n][number] for n in at if number in reached[n]}
        factors = Factors(1 + number / 1e4, 1, 1, 1)
        records.append(TrialRecord(number, factors, "random", "COMPLETE", images=full, rungs=mine))
        if fidelity is not None:
            _ = fidelity.learn(records, lambda key, make: make()) or fidelity.weigh(records)
        if made >= images:
            break
    whole = [0, *(int(order[each - 1]) for each in reached[ends[-1]])]
    best = [whole[row] for row in np.flatnonzero(nondominated(at[ends[-1]][whole]))]
    return world.worth(best), number, fidelity is not None and fidelity.usable


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Orders of the candidates.")] = 20,
    images: Annotated[float, typer.Option(min=100, help="Of each race, in images of all steps.")] = 1056,
    share: Annotated[float, typer.Option(min=0.01, max=1, help="Few steps, of all.")] = 0.5,
    correlations: Annotated[str, typer.Option(metavar="A,B", help="Planted.")] = "0.5,0.8,0.95,0.98,1",
    table: Annotated[Path, typer.Option(help="As benchmarks/record.py writes it.")] = TABLE,
) -> None:
    """Print a row for each correlation: hypervolume, its difference to none in the same order, candidates, use."""
    world, without = World.read(table), np.zeros(0)
    print(f"{images:g} images, few steps at {share:g} of all; {seeds} seeds")
    print(f"{'correlation':12}{'hypervolume':>12}{'difference':>20}{'candidates':>12}{'in use':>8}")
    for correlation in (PLAIN, *map(float, correlations.split(","))):
        found = [raced(world, correlation, share, images, seed) for seed in range(seeds)]
        worth, tried, used = (np.array(column, float) for column in zip(*found, strict=True))
        without = without if len(without) else worth
        apart = worth - without
        error = apart.std(ddof=1) / math.sqrt(seeds) if seeds > 1 else math.nan
        name = "none" if math.isnan(correlation) else f"{correlation:g}"
        difference = f"{apart.mean():+.3f} ± {error:.3f}"
        print(f"{name:12}{worth.mean():12.3f}{difference:>20}{tried.mean():12.1f}{100 * used.mean():6.0f} %")


if __name__ == "__main__":
    typer.run(main)
