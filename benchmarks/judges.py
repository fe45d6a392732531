"""Do judges notice a gain that is an artefact? `python benchmarks/judges.py`, minutes.

A generator of our own (benchmarks/planted.py) has factors that raise an objective that a study is searched by, either
by an artefact that the scorer falls for, or truly, or not at all. Each is confirmed as a real study is
(`search.study.confirmation`, `search.study.verdict`), with held-out prompts drawn from a table that is made once.
Printed, of all studies: how often a gain is claimed, and what the verdict then says of the judges
(`search.study.second_opinion.BEGINS`). An artefact should be "contradicted", all else never.

The rule was found on the first six worlds under --seed 0. `--seed 1 --fresh` has what it was never tuned on: other
prompts, scenes and noise, and worlds that were chosen by their objective alone, without a judge.

Where nothing is gained, each study swaps the two images of a prompt or not, at random: both are drawn alike, so without
any difference. Without that all studies would share the table's own chance difference, and be claimed together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
import typer

from benchmarks.planted import FRESH, WORLDS, Change, drawn_image, otherwise
from freeu import Candidate, Factors
from freeu.models import load_spec
from freeu.shapes.prompts import prompts
from metrics import registry
from metrics.base import Batch
from search.evaluation import Evaluator, Evaluators
from search.optimizer.pareto_front import Pick
from search.study import confirmation
from search.study.confirmation import confirm
from search.study.held_out import BASE_KEY, Rows, Sample
from search.study.looks import Looks, ends
from search.study.second_opinion import BEGINS, Kind
from search.study.verdict import Judges, verdict
from search.workers import SingleWorker

SEEDS = 1
FLIPS = 4095
"""Of signs, in place of a real confirmation's eight times as many: the smallest p is 0.0005."""
POPULATION = 240
"""Prompts of the table."""
FINALISTS = (1, 2)
"""Of the factors' strength, in thirds of what each world does at most."""
SET = "kid"
KINDS: tuple[Kind, ...] = ("shared", "split", "unsettled", "contradicted")


def main(
    studies: Annotated[int, typer.Option(min=1, help="Studies of each world.")] = 50,
    held_out: Annotated[int, typer.Option(min=16, help="Held-out prompts of a study.")] = 135,
    only: Annotated[str | None, typer.Option(help="Worlds whose name begins with this.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of prompts, scenes, noise and studies.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Also worlds that no rule was tuned on.")] = False,
) -> None:
    """Make the tables, simulate, print."""
    confirmation.FLIPS = FLIPS
    print(f"{'of all studies':40}{'claimed':>9}" + "".join(f"{kind:>14}" for kind in KINDS))
    for name, (objective, changed) in (WORLDS | (FRESH if fresh else {})).items():
        if name.startswith(only or ""):
            world = World(objective, changed, seed)
            rng = np.random.default_rng(seed)
            found = [kind_of(world.study(rng, held_out)) for _ in range(studies)]
            shares = [sum(kind is not None for kind in found), *(found.count(kind) for kind in KINDS)]
            claimed, *rest = (f"{share / studies:.0%}" for share in shares)
            print(f"{name:40}{claimed:>9}" + "".join(f"{cell:>14}" for cell in rest), flush=True)


def kind_of(text: str) -> Kind | None:
    """What a verdict says of the judges; None where it claims no gain."""
    return next((kind for kind in KINDS if text.startswith(BEGINS[kind])), None)


class World:
    """The table of one generator, and studies on it."""

    def __init__(self, objective: str, changed: Change, seed: int) -> None:
        spec = load_spec("shapes")
        built = (
            registry.build(name, spec.scorers, "cpu", spec.base, spec.reference)
            for name in (objective, *(spec.judges or ()))
        )
        self.metrics = {metric.name: metric for metric in built}
        self.objective, self.seed, self.asked = objective, seed, prompts(POPULATION, 23 + seed)
        self.alike = changed is otherwise
        self.judges = {name: metric.direction for name, metric in self.metrics.items() if name != objective}
        shares = {BASE_KEY: 0.0, **{number: number / 3 for number in FINALISTS}}
        self.table = {number: self._scored(changed, share) for number, share in shares.items()}
        self.held = Evaluators({"confirm": Evaluator(None, self.metrics, self.texts, range(POPULATION))})  # type: ignore[arg-type]

    @property
    def texts(self) -> list[str]:
        return [text for text, _ in self.asked]

    def study(self, rng: np.random.Generator, held_out: int) -> str:
        """The verdict on the finalists, on so many of the table's prompts."""
        chosen = rng.choice(POPULATION, held_out, replace=False)
        plan = Looks(1, ends(held_out, held_out, 1, SEEDS * held_out))
        rows = SEEDS * POPULATION
        swapped = rng.random(rows) < 0.5 if self.alike else np.zeros(rows, bool)
        replayed = Replayed(self, chosen, plan.ends[-1], swapped)
        finalists = {number: Candidate(Factors(1 + number / 10, 1, 1, 1)) for number in FINALISTS}
        seed, judges = int(rng.integers(2**31)), tuple(self.judges)
        found = confirm(replayed, finalists, (self.objective,), plan, seed, judges=judges)  # type: ignore[arg-type]
        directions = {self.objective: self.metrics[self.objective].direction}
        said = Judges(self.judges, found.judged)
        picks = [Pick(str(number), number) for number in FINALISTS]
        return verdict(picks, found.rows, directions, len(picks), judges=said, level=plan.level).text

    def _scored(self, changed: Change, share: float) -> Sample:
        """All prompts under the first seed, then all under the second."""
        images = [drawn_image([place, seed, *[self.seed] * (self.seed > 0)], text, scene, changed, share)
                  for seed in range(SEEDS) for place, (text, scene) in enumerate(self.asked)]  # fmt: skip
        batch = Batch(torch.stack(images), tuple(self.texts) * SEEDS)
        scores: dict[str, np.ndarray] = {}
        for name, metric in self.metrics.items():
            if name != SET:
                found = metric.score(batch).per_image
                assert found is not None
                scores[name] = found
        return Sample(scores, {SET: np.asarray(self.metrics[SET].features(batch))})  # type: ignore[attr-defined]


class Replayed:
    """Stands for `search.study.held_out.HeldOut`: rows of a table in place of drawn ones. swapped: in which of the
    table's rows the baseline and the finalists change sides."""

    def __init__(self, world: World, chosen: np.ndarray, count: int, swapped: np.ndarray) -> None:
        rows = [(place, seed) for seed in range(SEEDS) for place in chosen][:count]
        self.places = np.array([seed * POPULATION + place for place, seed in rows])
        self.rows = Rows(tuple(world.texts[place] for place, _ in rows), tuple(seed for _, seed in rows))
        self.world, self.crew, self.swapped = world, SingleWorker(world.held), swapped

    def samples(self, wanted: Mapping[int, Candidate], end: int) -> dict[int, Sample]:
        here, table = self.places[:end], self.world.table
        sides = self.swapped[here].astype(int)

        def part(key: int, of: Callable[[Sample], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
            other = of(table[FINALISTS[0] if key == BASE_KEY else BASE_KEY])
            return {name: np.stack([values, other[name]])[sides, here] for name, values in of(table[key]).items()}

        return {key: Sample(part(key, lambda s: s.scores), part(key, lambda s: s.features)) for key in wanted}


if __name__ == "__main__":
    typer.run(main)
