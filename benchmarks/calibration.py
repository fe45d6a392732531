"""Do the confirmation's numbers keep their word? `python benchmarks/calibration.py`, half a minute.

The table of benchmarks/record.py has two images of each prompt for each candidate. A study's held-out set is drawn from
a candidate's recorded differences with replacement, so the truth is the mean of all of them. Printed: how often the
95 % interval holds it, within the guardrails and outside; how often a study without any true difference has a star
(differences with the sign of each prompt at random); how often a true gain of 0.2 in clip gets one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import typer

from benchmarks.replay import TABLE
from metrics import stats

SCORES = ("clip", "aesthetic")
FINALISTS, OBJECTIVES = 2, 3
GAIN = 0.2


def main(
    prompts: Annotated[int, typer.Option(min=6, help="Held-out prompts.")] = 135,
    runs: Annotated[int, typer.Option(min=1, help="Studies for each figure.")] = 600,
    table: Annotated[Path, typer.Option(help="What benchmarks/record.py wrote.")] = TABLE,
) -> None:
    """Simulate and print."""
    with np.load(table) as kept:
        differences = {name: (kept[name] - kept[name][0]).astype(float) for name in SCORES}  # (candidates, 2, prompts)
        rails = kept["guardrails"].astype(float)
    spread = np.sqrt(np.square(rails[0, 0] - rails[0, 1]).mean(0) / 2)
    within = (np.abs((rails[:, 0] - rails[0, 0]).mean(1) / spread) <= 1).all(1)
    rng = np.random.default_rng(0)
    for name in SCORES:
        for said, some in (("within", within), ("outside", ~within)):
            held = [covered(differences[name][1 + n], prompts, rng) for n in rng.choice(np.flatnonzero(some[1:]), runs)]
            print(f"{name:<10} {said:<8} coverage {told(held)}")
    stars = [starred(differences, within, prompts, rng, 0.0) for _ in range(runs)]
    print(f"a false star anywhere {told(stars)}")
    found = [starred(differences, within, prompts, rng, GAIN) for _ in range(runs)]
    print(f"a gain of {GAIN} in clip is confirmed {told(found)}")


def told(found: list[bool]) -> str:
    """A share with its standard error."""
    share = float(np.mean(found))
    return f"{share:.3f} ± {np.sqrt(share * (1 - share) / len(found)):.3f}"


def covered(population: np.ndarray, n: int, rng: np.random.Generator) -> bool:
    """Whether the interval of n draws from (2, prompts) differences holds their mean."""
    sample = population[rng.integers(2, size=n), rng.integers(population.shape[1], size=n)]
    pair = stats.paired(sample, 0 * sample, range(n), rng)
    return bool(pair.low <= population.mean() <= pair.high)


def starred(
    differences: dict[str, np.ndarray], within: np.ndarray, n: int, rng: np.random.Generator, gain: float
) -> bool:
    """Whether a study has a star: anywhere without any true difference; in clip's first row where it has `gain`.

    Differences of finalists share prompts, and get their signs prompt by prompt. A third objective is normal noise.
    """
    chosen = rng.choice(np.flatnonzero(within)[1:], FINALISTS, replace=False)
    places, seeds = rng.integers(differences["clip"].shape[2], size=n), rng.integers(2, size=n)
    signs = rng.choice([-1.0, 1.0], size=n)
    rows = []
    for candidate in chosen:
        for name in SCORES:
            population = differences[name][candidate]
            sample = signs * (population[seeds, places] - population.mean())
            rows.append(sample + gain * (not rows))
        rows.append(rng.normal(size=n))
    ps = [stats.paired(row, 0 * row, range(n), rng).p for row in rows]
    sure = stats.holm(ps) < stats.LEVEL
    return bool(sure[0]) if gain else bool(sure.any())


if __name__ == "__main__":
    typer.run(main)
