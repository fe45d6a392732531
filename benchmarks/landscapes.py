"""Strategies on landscapes that nobody tuned on: `python benchmarks/landscapes.py`.

Six kinds, each made from a seed, in the four factors with three objectives: the best in the interior, at an edge, on a
narrow ridge that is oblique to the axes, with noise that grows along one factor, with two summits, and with the
baseline itself the best. An image's difference to the baseline is smooth in the factors, with heavy tails between
prompts (Student's t4), and shared by neighbours: so candidates share the luck of the first prompts, as real ones do.
All strategies get the same warm start (the baseline, the published factors, Sobol points) and recommend the posterior
front; rivals at their best: multivariate TPE, NSGA-II with a population of 12, Optuna's GPSampler with --slow.
Guardrails, where on, rule out a part of the space. Printed for each landscape: the true hypervolume of what is
recommended, in shares of the whole front's, ± its standard error over seeds, and the share of each rival's images after
which ours has what it has at its end, seed by seed; then what can be known at all: what the front of a thousand random
points has, were each point's mean known on a quarter of the prompts (12,000 images) or on all, or its truth. Even seeds
are for tuning, odd ones for reports.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
import pandas as pd
import typer

from benchmarks.search import Curve, InMemory, at, reached
from freeu import IDENTITY, Candidate, Factors
from search.evaluation import Evaluation, Evaluators, Task
from search.evaluation.evaluator import value_of
from search.optimizer import samplers
from search.optimizer.pareto_front import find, hypervolume, nondominated
from search.optimizer.space_file import default
from search.storage import StudyFolder, TrialRecord
from search.study.coordinator import Coordinator
from search.workers import SingleWorker

KINDS = ("interior", "edge", "ridge", "uneven noise", "two summits", "baseline best")
OBJECTIVES = ("clip", "aesthetic", "reward")
DIRECTIONS = dict.fromkeys(OBJECTIVES, "up")
PUBLISHED = Factors(1.3, 1.4, 0.9, 0.2)
PROMPTS, WAVES = 48, 24
NOISE = 1.0
"""Of an image's difference to the baseline, one range away from it; the objectives span about 1."""
FLAT = 0.5
"""Where the baseline is best, the slope away from it in shares of the usual one: half a range away costs about 0.09 in
each objective, where the luck of 48 prompts has a standard error of 0.14, so it takes more than noise to stay."""
POINTS = 1000
RANDOM, MOVED, FRONT, STEPS = 5_000, 2_000, 600, (0.1, 0.1, 0.05, 0.05, 0.05, 0.03, 0.03, 0.03, 0.02, 0.02)
"""How the true front is found: from random points, in rounds that each move so many by so much of a range."""
MARKS = (0.125, 0.25, 0.5, 1.0)
STRATEGIES: dict[str, tuple[str, bool]] = {
    "TPE": ("tpe", False),
    "NSGA-II": ("nsga2", False),
    "GPSampler": ("optuna's gp", False),
    "ours": ("gp", True),
}
"""Name → (sampler, whether it races)."""


@dataclass(frozen=True)
class Mean:
    """A score of each image, as far as its value goes."""

    name: str
    per_image: bool = True
    direction: str = "up"


class Landscape:
    """Evaluates a task of the search as a worker would, and knows what is true."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, rng = kind, np.random.default_rng([KINDS.index(kind), seed])
        self.zero = np.array(default().unit(Candidate(IDENTITY)))
        spread = {"edge": 0.15, "baseline best": 0.0}.get(kind, 0.18)
        middle = {"edge": np.where(rng.random(4) < 0.5, -0.1, 1.1), "baseline best": self.zero}.get(
            kind, rng.uniform(0.3, 0.7, 4)
        )
        self.summits = middle + spread * rng.normal(size=(2, 3, 4))
        width = FLAT if kind == "baseline best" else 1.0
        self.steep = np.stack([width * np.diag(rng.uniform(0.7, 1.3, 4)) for _ in OBJECTIVES])
        if kind == "ridge":
            turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
            self.steep = np.stack([np.diag([4.0, 1.0, 1.0, 0.2]) @ turned.T for _ in OBJECTIVES])
        self.waves = rng.normal(size=(WAVES, 4)) * 2.0
        self.phases = rng.uniform(0, 2 * np.pi, WAVES)
        self.luck = rng.standard_t(4, size=(PROMPTS, len(OBJECTIVES), WAVES)) / np.sqrt(2 * WAVES)
        self.levels = rng.normal(0, 3, (PROMPTS, len(OBJECTIVES)))
        self.rail = rng.normal(size=4)
        self.limit = float(np.quantile((rng.random((500, 4)) - self.zero) @ self.rail, 0.6))

    def truth(self, x: np.ndarray) -> np.ndarray:
        """(n, objectives) of points (n, 4) of the unit cube, all to be maximised."""
        heights = []
        for summit in self.summits[: 2 if self.kind == "two summits" else 1]:
            away = np.einsum("jab,njb->nja", self.steep, x[:, None, :] - summit)
            heights.append(np.exp(-1.5 * np.square(away).sum(-1)))
        return np.max(heights, axis=0)

    def within(self, x: np.ndarray) -> np.ndarray:
        """(n,) how far points are out of the guardrail's bound, which is 1."""
        return (x - self.zero) @ self.rail / max(self.limit, 1e-3)

    def front(self, rails: bool) -> np.ndarray:
        """(n, 4) points of the true front: of many random ones the non-dominated, moved by less and less."""
        rng = np.random.default_rng(0)
        points = np.concatenate([rng.random((RANDOM, 4)), self.zero[None]])
        for step in (0.0, *STEPS):
            if step:  # some along one axis alone, for fronts at an edge
                places = points[rng.integers(len(points), size=MOVED)]
                moves = step * rng.normal(size=places.shape) * (rng.random(places.shape) < rng.random((MOVED, 1)))
                points = np.concatenate([points, (places + moves).clip(0, 1)])
            if rails:
                points = np.concatenate([points, self.onto_bound(points)])
                points = points[np.abs(self.within(points)) <= 1]
            points = points[nondominated(self.truth(points))]
            points = points[rng.permutation(len(points))[:FRONT]]
        return points

    def onto_bound(self, x: np.ndarray) -> np.ndarray:
        """Of points (n, 4) those beyond the guardrail's bound, moved to just within it."""
        out = self.within(x)
        x, out = x[np.abs(out) > 1], out[np.abs(out) > 1]
        too_far = (out - 0.9999 * np.sign(out)) * max(self.limit, 1e-3)
        return np.asarray((x - too_far[:, None] * self.rail / (self.rail @ self.rail)).clip(0, 1))

    def images(self, x: np.ndarray, n: int) -> np.ndarray:
        """(n, objectives): what the first n images get."""
        away = np.linalg.norm(x - self.zero)
        waves = np.sin(self.waves @ x + self.phases) - np.sin(self.waves @ self.zero + self.phases)
        own = self.luck[:n] @ waves
        scale = NOISE * (0.3 + 1.4 * x[0] if self.kind == "uneven noise" else 1.0)
        gain = self.truth(x[None])[0] - self.truth(self.zero[None])[0]
        return np.asarray(self.levels[:n] + gain + scale * own * min(1.0, 0.5 + away))

    def __call__(self, task: Task, on_images: object = None) -> Evaluation:
        x, n = np.array(default().unit(task.candidate)), task.end
        found = self.images(x, n)
        columns = {name: found[:, j] for j, name in enumerate(OBJECTIVES)}
        rail = {"rail": np.full(n, float(self.within(x[None])[0]))}
        table = pd.DataFrame({"prompt": [f"p{i}" for i in range(n)], "seed": 0, **columns, **rail})
        values = {name: value_of(Mean(name), table, {}, task.base) for name in OBJECTIVES}
        return Evaluation(values, n, table, {}, seconds={"total": float(n)}, unet_evaluations=n)


@cache
def world(kind: str, seed: int, rails: bool) -> tuple[Landscape, np.ndarray, float]:
    """The landscape, the reference point, and the hypervolume of its whole front."""
    land = Landscape(kind, seed)
    front = land.truth(land.front(rails))
    span = 1.0 if kind == "baseline best" else np.maximum(np.ptp(front, axis=0), 0.1)  # a front of one point has none
    reference = np.minimum(front.min(0), land.truth(land.zero[None])[0]) - 0.1 * span
    return land, reference, hypervolume(front, reference)


def known(kind: str, seed: int, rails: bool, prompts: int | None) -> float:
    """What luck leaves: the share of the whole front's hypervolume that the best of POINTS random points have, chosen
    by their means on so many prompts; None: by the truth."""
    land, reference, whole = world(kind, seed, rails)
    points = np.concatenate([np.random.default_rng(seed).random((POINTS, 4)), land.zero[None]])
    points = points[np.abs(land.within(points)) <= 1] if rails else points
    truths = land.truth(points)
    means = np.stack([land.images(x, prompts).mean(0) for x in points]) if prompts else truths
    return hypervolume(truths[nondominated(means)], reference) / whole


def run(strategy: str, kind: str, seed: int, rails: bool, trials: int) -> Curve:
    """A strategy's curve: (images so far, share of the whole front's hypervolume)."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers.SAMPLERS["optuna's gp"] = lambda seed, place, space: optuna.samplers.GPSampler(
        seed=samplers.derived(seed, "sampler", place)
    )
    land = world(kind, seed, rails)[0]
    sampler, race = STRATEGIES[strategy]
    watcher = _Curve(kind, seed, rails)
    shifts: Callable[..., dict[str, float]] = lambda found, base, whole: {"rail": float(found["rail"].mean())}  # noqa: E731
    with tempfile.TemporaryDirectory() as folder:
        study = Coordinator(
            InMemory(StudyFolder(Path(folder), "landscape")),
            DIRECTIONS,
            prompts=PROMPTS,
            space=default(),
            sampler=sampler,
            seed=seed,
            fixed=[("baseline", Candidate(IDENTITY)), ("published", Candidate(PUBLISHED))],
            watcher=watcher,
            race=race,
        )
        evaluators = Evaluators({"search": land})  # type: ignore[dict-item]
        enough = trials * PROMPTS
        study.run(SingleWorker(evaluators), 10_000, lambda *_: watcher.images < enough, shifts if rails else None)
    return watcher.curve


class _Curve:
    """Watches a study."""

    def __init__(self, kind: str, seed: int, rails: bool) -> None:
        self.world, self.records, self.images = world(kind, seed, rails), list[TrialRecord](), 0
        self.curve: Curve = []

    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None: ...

    def elsewhere(self, record: TrialRecord) -> None: ...

    def said(self, text: str) -> None: ...

    def ended(self, record: TrialRecord) -> None:
        self.records.append(record)
        self.images += record.images
        if self.curve and self.images < self.curve[-1][0] + PROMPTS:
            return  # as often as a rival ends a trial
        by_number = {each.number: each.candidate for each in self.records}
        front = [default().unit(by_number[number]) for number in find(self.records, DIRECTIONS).numbers]
        land, reference, whole = self.world
        self.curve.append((self.images, hypervolume(land.truth(np.array(front)), reference) / whole))


def main(
    seeds: Annotated[int, typer.Option(min=2, help="Of each landscape, odd ones.")] = 20,
    trials: Annotated[int, typer.Option(min=8, help="Of the rivals, each on all prompts.")] = 64,
    tuning: Annotated[bool, typer.Option("--tuning", help="Even seeds, to try changes on.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="GPSampler too: a second a trial.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    only: Annotated[str | None, typer.Option(help="One landscape.")] = None,
) -> None:
    """Run and print."""
    names = [name for name in STRATEGIES if slow or name != "GPSampler"]
    chosen = [2 * k + (not tuning) for k in range(seeds)]
    enough = trials * PROMPTS
    print("images" + " " * 40 + "".join(f"{round(part * enough):>16}" for part in MARKS))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for kind in (kind for kind in KINDS if only in (None, kind)):
            for rails in (False, True):
                jobs = [(name, kind, seed, rails, trials) for name in names for seed in chosen]
                found = [*pool.map(run, *zip(*jobs, strict=True))]
                curves = {name: found[k * seeds : (k + 1) * seeds] for k, name in enumerate(names)}
                report(kind, rails, curves, enough)
                for what, prompts in (("on 12 prompts", PROMPTS // 4), ("on all prompts", PROMPTS), ("truly", None)):
                    parts = [*pool.map(known, *zip(*[(kind, seed, rails, prompts) for seed in chosen], strict=True))]
                    print(
                        f"{_said(kind, rails):<34} {POINTS} points, known {what}: {_cell(np.array(parts))}", flush=True
                    )


def report(kind: str, rails: bool, curves: dict[str, list[Curve]], enough: int) -> None:
    """Print a landscape's rows."""
    said = _said(kind, rails)
    for name, runs in curves.items():
        cells = []
        for part in MARKS:
            values = np.array([at(curve, part * enough) for curve in runs])
            cells.append(_cell(values))
        print(f"{said:<34} {name:<10} " + " ".join(cells), flush=True)
    mine = curves["ours"]
    for name, runs in curves.items():
        if name == "ours":
            continue
        lasts = np.array([at(curve, enough) for curve in runs])
        needed = np.median([reached(own, last) / enough for own, last in zip(mine, lasts, strict=True)])
        more = _cell(np.array([at(curve, enough) for curve in mine]) - lasts).strip()
        words = f"ours has {name}'s last after {needed:.2f} of its images, the median; at its end more by {more}"
        print(f"{said:<34} {words}", flush=True)


def _said(kind: str, rails: bool) -> str:
    return f"{kind}, guardrails {'on' if rails else 'off'}"


def _cell(values: np.ndarray) -> str:
    return f"{values.mean():>8.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


if __name__ == "__main__":
    typer.run(main)
