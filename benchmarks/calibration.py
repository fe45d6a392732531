"""Do the confirmation's numbers keep their word? `python benchmarks/calibration.py`, some minutes.

The table of benchmarks/record.py has two images of each prompt for each candidate. A study's held-out prompts are drawn
from the table's with replacement, two seeds each, so the truth is the mean of all of them. A study is confirmed as a
real one is (`search.study.looks`, `confirmation.decided`): look by look, Holm's correction over all rows, four fifths
of the error. Printed: how often 95 % intervals hold the truth, of all drawn images and at the end of a study; how often
a study without any true difference has a star (differences with the sign of each prompt at random); how often a true
gain gets one, and on what share of the images that were planned.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import typer

from benchmarks.replay import TABLE
from metrics import sequential, stats
from search.study import confirmation
from search.study.looks import LEVEL, Plan, ends

SCORES = ("clip", "aesthetic")
FINALISTS, OBJECTIVES = 2, 3
GAIN = 0.2


@dataclass(frozen=True)
class Table:
    """differences: score → (candidates, 2, prompts) to the baseline. within: candidates within the guardrails."""

    differences: dict[str, np.ndarray]
    within: np.ndarray


def main(
    prompts: Annotated[int, typer.Option(min=6, help="Held-out prompts.")] = 135,
    seeds: Annotated[int, typer.Option(min=1, max=2, help="Images of each prompt, at most.")] = 2,
    runs: Annotated[int, typer.Option(min=1, help="Studies for each figure.")] = 400,
    table: Annotated[Path, typer.Option(help="What benchmarks/record.py wrote.")] = TABLE,
) -> None:
    """Simulate and print."""
    known, rng = read(table), np.random.default_rng(0)
    plan = Plan(1, ends(prompts, 1, seeds * prompts))
    for name in SCORES:
        for said, some in (("within", known.within), ("outside", ~known.within)):
            chosen = rng.choice(np.flatnonzero(some[1:]) + 1, runs)
            held = [covered(known.differences[name][n], prompts, seeds, rng) for n in chosen]
            print(f"{name:<10} {said:<8} coverage {told(held)}")
    best = np.argsort(-np.where(known.within, known.differences["clip"].mean((1, 2)), -np.inf))[:8]
    every = np.flatnonzero(known.within)[1:]
    for said, some, gain in (
        ("no difference", every, 0.0),
        (f"a gain of {GAIN} in clip", every, GAIN),
        (f"a gain of {GAIN} in clip, of the best 8", best, GAIN),
    ):
        found = [study(known, some, plan, prompts, rng, gain) for _ in range(runs)]
        shares = told([bool(each.stars[0] if gain else each.stars.any()) for each in found])
        held = told([inside for each in found for inside in each.held])
        used = np.mean([each.share for each in found])
        print(f"{said}: a star {shares}; coverage {held}; images {used:.2f} of {plan.ends[-1]} for each candidate")


def read(file: Path) -> Table:
    """The table of benchmarks/record.py."""
    with np.load(file) as kept:
        differences = {name: (kept[name] - kept[name][0]).astype(float) for name in SCORES}
        rails = kept["guardrails"].astype(float)
    spread = np.sqrt(np.square(rails[0, 0] - rails[0, 1]).mean(0) / 2)
    return Table(differences, (np.abs((rails[:, 0] - rails[0, 0]).mean(1) / spread) <= 1).all(1))


def told(found: list[bool]) -> str:
    """A share with its standard error."""
    share = float(np.mean(found))
    return f"{share:.3f} ± {np.sqrt(share * (1 - share) / len(found)):.3f}"


def covered(population: np.ndarray, n: int, seeds: int, rng: np.random.Generator) -> bool:
    """Whether the interval of n prompts of (2, prompts) differences, so many seeds each, holds their mean."""
    places = rng.integers(population.shape[1], size=n)
    sample = population[rng.permuted(np.tile([0, 1], (n, 1)), axis=1)[:, :seeds].T, places].ravel()
    pair = stats.paired(sample, 0 * sample, [*range(n)] * seeds, rng)
    return bool(pair.low <= population.mean() <= pair.high)


@dataclass(frozen=True)
class Found:
    """Of a study: which rows have a star; whether each interval holds the truth; the share of the images drawn."""

    stars: np.ndarray
    held: list[bool]
    share: float


def study(table: Table, some: np.ndarray, plan: Plan, prompts: int, rng: np.random.Generator, gain: float) -> Found:
    """A study's confirmation of two of `some` candidates, without any true difference but `gain` in clip's first row.

    Differences of finalists share prompts, and get their signs prompt by prompt. A third objective is normal noise.
    """
    most, known = plan.ends[-1], table.differences["clip"].shape[2]
    clusters = np.arange(most) % prompts
    places, first = rng.integers(known, size=prompts)[clusters], rng.integers(2, size=prompts)[clusters]
    seeds, signs = (first + np.arange(most) // prompts) % 2, rng.choice([-1.0, 1.0], size=prompts)[clusters]
    rows = []
    for candidate in rng.choice(some, FINALISTS, replace=False):
        for name in SCORES:
            population = table.differences[name][candidate]
            rows.append(signs * (population[seeds, places] - population.mean()) + gain * (not rows))
        rows.append(rng.normal(size=most))
    truth = [gain, *[0.0] * (len(rows) - 1)]
    for look, end in enumerate(plan.ends):
        pairs = [stats.paired(row[:end], 0 * row[:end], clusters[:end], rng, confirmation.FLIPS) for row in rows]
        adjusted = stats.holm([sequential.adjusted(pair.p, look, plan.times) for pair in pairs]) * LEVEL / plan.level
        told = [{"p": pair.p, "p_holm": p} for pair, p in zip(pairs, adjusted, strict=True)]
        if confirmation.decided(told, plan, look):
            break
    held = [pair.low <= true <= pair.high for pair, true in zip(pairs, truth, strict=True)]
    return Found(adjusted < LEVEL, held, end / most)


if __name__ == "__main__":
    typer.run(main)
