"""How many images strategies need for a front: `python benchmarks/search.py`, on the table of benchmarks/record.py.

Each strategy runs as it would for real, but for the images: Optuna's samplers with all prompts in every trial, and
ours, the study's coordinator itself, without and with racing. After each trial the candidates that are recommended
then (of Optuna's the observed front, of ours the posterior one) are given their true scores, on the run of the prompts
that no search sees, and the hypervolume of those is the curve. Printed and drawn: its median over seeds against images.

The reference point is the worst of the table's true front in each objective, less a tenth of its span, as is usual
where nobody knows a better one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
import typer

import configs
from benchmarks.replay import DIRECTIONS, TABLE, Replay
from freeu import IDENTITY, Candidate, Factors
from metrics.reference import Reference
from search.evaluation import Evaluators, Task
from search.optimizer.pareto_front import find, hypervolume, nondominated
from search.optimizer.space_file import default
from search.storage import StudyFolder, TrialRecord
from search.storage.optuna_storage import Direction, Storage
from search.study.coordinator import Coordinator
from search.workers import SingleWorker

Curve = list[tuple[int, float]]
"""(images so far, hypervolume of what is recommended)."""
PUBLISHED = Factors(1.3, 1.4, 0.9, 0.2)
NAIVE: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "NSGA-II": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "TPE": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "GP": lambda seed: optuna.samplers.GPSampler(seed=seed),
}
OURS = {"ours, no racing": False, "ours": True}


@cache
def world(table: Path) -> tuple[Replay, np.ndarray, float]:
    """The replay, the reference point (objectives,), and the hypervolume of the table's whole true front."""
    with np.load(configs.path("models", "shapes", "scorers", "reference.npz")) as kept:
        replay = Replay(table, Reference(kept["mu"], kept["sigma"]))
    truths = replay.all_truths()
    front = truths[nondominated(truths)]
    reference = front.min(0) - 0.1 * np.ptp(front, axis=0)
    return replay, reference, hypervolume(front, reference)


def worth(recommended: list[Factors], table: Path) -> float:
    """The true hypervolume of some candidates."""
    replay, reference, _ = world(table)
    return hypervolume(np.stack([replay.truth(factors) for factors in recommended]), reference)


def naive(name: str, seed: int, table: Path, trials: int) -> Curve:
    """Optuna with all prompts in each trial; recommended is what it observed to be best."""
    replay, directions = world(table)[0], [_optunas(each) for each in DIRECTIONS.values()]
    study = optuna.create_study(directions=directions, sampler=NAIVE[name](seed))
    space, curve = default(), []
    for number in range(1, trials + 1):
        trial = study.ask()
        found = replay(Task(space.candidate(space.suggest(trial)), len(replay.prompts)))
        study.tell(trial, [found.values[each].value for each in DIRECTIONS])
        recommended = [space.candidate(best.params).factors for best in study.best_trials]
        curve.append((len(replay.prompts) * number, worth(recommended, table)))
    return curve


def ours(name: str, seed: int, table: Path, trials: int) -> Curve:
    """The study of `search`, until it has made as many images; recommended is its posterior front."""
    replay = world(table)[0]
    parts = Evaluators({"search": lambda task, on_images: replay(task)})  # type: ignore[dict-item]
    watcher = _Curve(table)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        study = Coordinator(
            InMemory(StudyFolder(Path(folder), "replay")),
            DIRECTIONS,
            prompts=len(replay.prompts),
            space=default(),
            sampler="gp",
            seed=seed,
            fixed=[("baseline", Candidate(IDENTITY)), ("published", Candidate(PUBLISHED))],
            watcher=watcher,
            race=OURS[name],
        )
        study.run(SingleWorker(parts), 10_000, lambda records, running: watcher.images < trials * len(replay.prompts))
    return watcher.curve


class InMemory(Storage):
    """Nothing outlives the replay."""

    def open(self, directions: Mapping[str, str]) -> optuna.Study:
        return optuna.create_study(directions=[_optunas(each) for each in directions.values()])


class _Curve:
    """Watches a study of ours."""

    def __init__(self, table: Path) -> None:
        self.table, self.records, self.images = table, list[TrialRecord](), 0
        self.curve: Curve = []

    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None: ...

    def elsewhere(self, record: TrialRecord) -> None: ...

    def said(self, text: str) -> None: ...

    def ended(self, record: TrialRecord) -> None:
        self.records.append(record)
        self.images += record.images
        front = find(self.records, DIRECTIONS)
        by_number = {each.number: each.factors for each in self.records}
        self.curve.append((self.images, worth([by_number[number] for number in front.numbers], self.table)))


def _optunas(direction: str) -> Direction:
    return "maximize" if direction == "up" else "minimize"


def one(name: str, seed: int, table: Path, trials: int) -> tuple[str, Curve]:
    """A strategy under a seed."""
    import warnings

    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return name, (naive if name in NAIVE else ours)(name, seed, table, trials)


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each strategy.")] = 20,
    trials: Annotated[int, typer.Option(min=2, help="Of the naive loop, which says how many images all have.")] = 64,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    table: Annotated[Path, typer.Option(help="As benchmarks/record.py writes it.")] = TABLE,
    picture: Annotated[Path | None, typer.Option(help="Where to draw the curves, as PNG.")] = None,
) -> None:
    """Print the table, and how many of the images of TPE's 64 trials ours needs."""
    curves: dict[str, list[Curve]] = {name: [] for name in (*NAIVE, *OURS)}
    jobs = [(name, seed, table, trials) for seed in range(seeds) for name in curves]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for name, curve in pool.map(one, *zip(*jobs, strict=True)):
            curves[name].append(curve)
    whole, images = world(table)[2], trials * len(world(table)[0].prompts)
    marks = [round(images * part / 16) for part in (1, 2, 3, 4, 6, 8, 12, 16)]
    print(f"true hypervolume of what is recommended, in shares of the whole front's; median of {seeds} seeds")
    print(f"{'images':<18}" + "".join(f"{n:>8}" for n in marks))
    for name, runs in curves.items():
        medians = [np.median([at(curve, n) for curve in runs]) / whole for n in marks]
        print(f"{name:<18}" + "".join(f"{value:>8.3f}" for value in medians))
    print()
    ends = [curve[-1][1] for curve in curves["TPE"]]
    goal = float(np.median(ends))
    for name in OURS:
        share = float(np.median([reached(curve, goal) for curve in curves[name]])) / images
        print(f"{name}: TPE's final {goal / whole:.3f} after {share:.2f} of its images, the median over seeds")
    if picture is not None:
        _draw(curves, whole, images, picture)


def at(curve: Curve, images: float) -> float:
    """The hypervolume of what is recommended after so many images."""
    return next((value for n, value in reversed(curve) if n <= images), 0.0)


def reached(curve: Curve, value: float) -> float:
    """After how many images a curve has a value for the first time; infinite: never."""
    return next((float(images) for images, here in curve if here >= value), np.inf)


def _draw(curves: Mapping[str, list[Curve]], whole: float, images: int, file: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    places = np.linspace(images / 64, images, 128)
    for (name, runs), style in zip(curves.items(), (":", "-.", "--", (0, (5, 1)), "-", "-"), strict=True):
        values = np.median([[at(curve, n) / whole for n in places] for curve in runs], axis=0)
        axis.step(places, values, linestyle=style, label=name, where="post", linewidth=2.2 if name in OURS else 1.3)
    axis.set(xlabel="images generated", ylabel="true hypervolume, share of the whole front's", xlim=(0, None))
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    typer.run(main)
