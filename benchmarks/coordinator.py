"""What many workers and many trials cost the one coordinator: `python benchmarks/coordinator.py`.

A study of `search` itself, on SQLite, whose workers sleep as long as images would take. Printed: the share of their
time that the workers slept, from the first trial to the last one's beginning (1 would be ideal: nobody ever waits for
the coordinator), and the coordinator's own time for a trial as the study grows. Also printed: how busy the workers of
a whole default study are, from its first image to its verdict, in simulated time (benchmarks/simulated.py).
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
import typer

from benchmarks import simulated
from freeu import IDENTITY, Candidate, Factors
from search.evaluation import Evaluation, Evaluators, Task
from search.evaluation.evaluator import Value
from search.evaluation.extrapolation import mean
from search.optimizer.space_file import default
from search.storage import StudyFolder, TrialRecord
from search.storage.optuna_storage import Storage
from search.study.coordinator import Coordinator
from search.workers.crew import Job
from search.workers.processes import WorkerPool

DIRECTIONS = {"clip": "up", "aesthetic": "up"}
FIXED = [("baseline", Candidate(IDENTITY)), ("published", Candidate(Factors(1.3, 1.4, 0.9, 0.2)))]
PROMPTS = 48


class Sleeper:
    """A worker that sleeps for each image, and scores it by a smooth function of the factors and the prompt's noise."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.slept, self._pool = seconds, 0.0, ThreadPoolExecutor(1)

    def ready(self) -> Future[Any]:
        return self._pool.submit(lambda: None)

    def submit(self, job: Job) -> Future[Any]:
        return self._pool.submit(job, Evaluators({"search": self}), lambda done: None)  # type: ignore[dict-item]

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __call__(self, task: Task, on_images: Any = None) -> Evaluation:
        seconds = self.seconds * (task.end - task.begin)
        time.sleep(seconds)
        self.slept += seconds
        point = np.array(default().unit(task.candidate))
        found: dict[str, Any] = {"prompt": [str(i) for i in range(task.end)], "seed": 0}
        for j, name in enumerate(DIRECTIONS):
            noise = np.random.default_rng(j).normal(size=PROMPTS)[: task.end]
            own = np.random.default_rng([j, *(int(1e6 * each) for each in point)]).normal(size=PROMPTS)[: task.end]
            found[name] = 1 - np.square(point - 0.3 - 0.2 * j).sum() + noise + 0.2 * own
        table, base = pd.DataFrame(found), task.base
        values = {}
        for name in DIRECTIONS:
            zero = None if base is None or base.per_image is None else base.per_image[name].to_numpy()
            value, spread, paired = mean(table[name].to_numpy(), zero)
            values[name] = Value(value, spread, task.end, DIRECTIONS[name], paired)
        return Evaluation(values, task.end, table, seconds={"total": seconds}, unet_evaluations=task.end)


class Clock:
    """Watches a study: when trials began and ended, and how long the coordinator was at work before each end."""

    def __init__(self) -> None:
        self.first = self.last = 0.0
        self.ends: list[float] = []

    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None:
        self.last = time.perf_counter()
        self.first = self.first or self.last

    def ended(self, record: TrialRecord) -> None:
        self.ends.append(time.perf_counter())

    def elsewhere(self, record: TrialRecord) -> None: ...

    def said(self, text: str) -> None: ...


def study(folder: Path, sampler: str, clock: Clock) -> Coordinator:
    """One of `search`, on SQLite, with races."""
    return Coordinator(
        Storage(StudyFolder(folder, "many")),
        DIRECTIONS,
        prompts=PROMPTS,
        space=default(),
        sampler=sampler,
        seed=0,
        fixed=FIXED,
        watcher=clock,
        race=True,
    )


def busy(folder: Path, workers: int, trials: int, seconds: float) -> tuple[float, float]:
    """(share of their time that the workers slept, jobs a second), from the first trial to the last one's beginning."""
    clock, sleepers = Clock(), [Sleeper(seconds) for _ in range(workers)]
    crew = WorkerPool([lambda each=each: each for each in sleepers], ())  # type: ignore[misc]
    shared: dict[str, float] = {}

    def until(records: Sequence[TrialRecord], running: int) -> bool:
        if len(records) < trials:
            shared["slept"] = sum(each.slept for each in sleepers)
            shared["ended"] = time.perf_counter()
            return True
        return False

    study(folder, "gp", clock).run(crew, 10**6, until)
    began = clock.ends[0]  # before it only the baseline runs, which all wait for
    whole = shared["ended"] - began
    return (shared["slept"] - seconds * PROMPTS) / workers / whole, trials / whole


def cost(folder: Path, sampler: str, trials: int) -> list[float]:
    """Seconds between the ends of trials of one worker that needs no time, until there are so many."""
    clock = Clock()
    crew = WorkerPool([lambda: Sleeper(0.0)], ())
    study(folder, sampler, clock).run(crew, trials)
    return list(np.diff(clock.ends))


def main(
    workers: Annotated[int, typer.Option(min=1, help="That sleep.")] = 64,
    seconds: Annotated[float, typer.Option(min=0, help="An image, as SDXL takes on a GPU.")] = 3.0,
    trials: Annotated[int, typer.Option(min=3, help="Of all workers.")] = 512,
    finished: Annotated[int, typer.Option(min=100, help="How far a study grows.")] = 10_000,
    whole: Annotated[str, typer.Option(metavar="A,B", help="Workers of whole studies; empty for none.")] = "8,64",
    only_whole: Annotated[bool, typer.Option("--only-whole", help="Whole studies alone.")] = False,
) -> None:
    """The figures."""
    import optuna

    logging.disable(logging.WARNING)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for number in map(int, filter(None, whole.split(","))):
        with tempfile.TemporaryDirectory() as folder:
            share, hours = simulated.whole_study(Path(folder), number, seconds)
        print(f"a study, {number} workers, {seconds:g} s an image: busy {share:.1%} of {60 * hours:.1f} minutes")
    if only_whole:
        return
    with tempfile.TemporaryDirectory() as folder:
        share, rate = busy(Path(folder), workers, trials, seconds)
    print(f"{workers} workers, {seconds:g} s an image: busy {share:.1%} of their time, {60 * rate:.1f} trials a minute")
    with tempfile.TemporaryDirectory() as folder:
        for size in sorted({100, 1000, 3000, finished}):
            if size > finished:
                break
            for sampler in ("random", "gp"):
                ahead = size + (20 if sampler == "gp" else 0)
                found = cost(Path(folder), sampler, ahead)[-20:]
                print(f"{size:>6} trials, {sampler:>6}: {1000 * np.median(found):6.0f} ms a trial")


if __name__ == "__main__":
    typer.run(main)
