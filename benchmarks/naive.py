"""The loop that people would write, run for real beside ours: `python benchmarks/naive.py`.

Naive: Optuna's TPE, diffusers' own pipeline and `enable_freeu`, all prompts in every trial, one metric after the other.
Ours: `python -m search.run --version v1 --stages block`, which is the FreeU that `enable_freeu` has, with as many
images. One after the other on the embedded model, on this machine. Every candidate that either recommends at a
checkpoint is then scored on prompts and seeds that neither has seen; printed is the hypervolume of what each recommends
by those scores over wall time, loading included, and when ours reaches the naive loop's last. With OMP_NUM_THREADS=1 by
CPU time, which other work of the machine doesn't lengthen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import psutil
import typer

from freeu import IDENTITY, Candidate, Factors
from search.optimizer.dimension import NUMBERS
from search.optimizer.pareto_front import find, hypervolume, nondominated
from search.optimizer.space_file import default
from search.settings import reading as settings
from search.settings.job import prepare
from search.storage import StudyFolder

ROOT = Path(__file__).parent.parent
DIRECTIONS = {"clip": "up", "aesthetic": "up", "fid": "down"}
SIGNS = np.array([1, 1, -1])
KIND = {"version": "v1", "stages": "block"}
SPACE = default(KIND["version"], KIND["stages"])
BATCH = 16
CHECKS = 16
BY_CPU = os.environ.get("OMP_NUM_THREADS") == "1"


@dataclass(frozen=True)
class Checkpoint:
    """What a search recommends after so many seconds (of the processor, where `BY_CPU`) and images."""

    seconds: float
    images: int
    recommended: tuple[Factors, ...]


def prepared(limit: int, **more: Any) -> Any:
    """The model, its prompts and their halves, as a study has them."""
    flags = {"model": "shapes", "limit": limit, "guardrails": False, **KIND, **more}
    return prepare(settings.load(None, flags))


def pipeline() -> Any:
    """diffusers' own, of the embedded model."""
    import diffusers
    import torch

    folder = ROOT / "configs" / "models" / "shapes"
    pipe: Any = diffusers.StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, local_files_only=True, dtype=torch.float32
    )
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(pipe: Any, prompts: Sequence[str], spec: Any, batch: int) -> Any:
    """Images as `pipe` draws them, uint8 (n, 3, H, W); FreeU is as it stands there."""
    import torch

    from freeu.generate import generator

    images = []
    for start in range(0, len(prompts), batch):
        texts = list(prompts[start : start + batch])
        made = pipe(
            texts,
            num_inference_steps=spec.steps,
            guidance_scale=spec.guidance,
            generator=[generator(text, 0) for text in texts],
            output_type="pt",
        )
        images.append((made.images.float() * 255).round().to(torch.uint8).cpu())
    return torch.cat(images)


def naive(limit: int, trials: int, **more: Any) -> list[Checkpoint]:
    """Optuna, enable_freeu, all prompts."""
    clock = time.process_time if BY_CPU else time.perf_counter
    began = 0.0 if BY_CPU else clock()  # the processor's time is that of the whole process, as ours is
    import optuna

    from metrics import registry
    from metrics.base import Batch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    job = prepared(limit, **more)
    pipe = pipeline()
    metrics = [registry.build(name, job.spec.scorers, "cpu", job.spec.base, job.spec.reference) for name in DIRECTIONS]

    def scores(trial: optuna.Trial) -> list[float]:
        factors = SPACE.candidate(SPACE.suggest(trial)).factors
        pipe.enable_freeu(**{name: getattr(factors, name) for name in NUMBERS})
        batch = Batch(drawn(pipe, job.prompts, job.spec, BATCH), job.prompts)
        return [float(metric.score(batch).value) for metric in metrics]

    study = optuna.create_study(
        directions=["maximize", "maximize", "minimize"], sampler=optuna.samplers.TPESampler(seed=0)
    )
    found = []
    for number in range(1, trials + 1):
        study.optimize(scores, n_trials=1)
        best = tuple(SPACE.candidate(trial.params).factors for trial in study.best_trials)
        found.append(Checkpoint(clock() - began, number * limit, best))
    return found


def ours(limit: int, images: int, folder: Path, steps: int | None) -> list[Checkpoint]:
    """The command, and what it would have recommended after each trial."""
    command = [sys.executable, "-m", "search.run", "--model", "shapes", "--study", "ours", "--mlruns", str(folder)]
    command += ["--limit", str(limit), "--images", str(images), "--trials", "1000", "--no-guardrails", "--no-cache"]
    command += ["--baseline-guidance", "off", "--version", KIND["version"], "--stages", KIND["stages"]]
    command += ["--held-out", "16", "--judges", "none"]  # what is compared ends with the search
    command += [] if steps is None else ["--steps", str(steps)]
    began, seconds_at = time.time(), watched(command)
    study = StudyFolder(folder, "ours")
    records = [record for record in study.read_trials() if record.complete]
    found, made = [], 0
    for number, record in enumerate(records, 1):
        made += record.images
        front = find(records[:number], DIRECTIONS, SPACE)
        by_number = {each.number: each.factors for each in records}
        seconds = seconds_at(study.record_file(record.number).stat().st_mtime - began)
        found.append(Checkpoint(seconds, made, tuple(by_number[each] for each in front.numbers)))
    return found


def watched(command: Sequence[str]) -> Callable[[float], float]:
    """Run a command to its end. What it took by so many seconds after its beginning, as `Checkpoint` counts it."""
    began, times, spent = time.time(), [0.0], [0.0]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    def watch() -> None:
        while process.poll() is None:
            with suppress(psutil.Error):  # it has just ended
                found = psutil.Process(process.pid).cpu_times()
                times.append(time.time() - began)
                spent.append(found.user + found.system)
            time.sleep(0.1)

    if BY_CPU:
        threading.Thread(target=watch, daemon=True).start()
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return lambda seconds: float(np.interp(seconds, times, spent)) if BY_CPU else seconds


def sparse(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Some of them, evenly over the time, and the last."""
    times = np.linspace(0, checkpoints[-1].seconds, CHECKS + 1)[1:]
    rows = {max([i for i, each in enumerate(checkpoints) if each.seconds <= t], default=0) for t in times}
    return [checkpoints[row] for row in sorted(rows)]


def judged(candidates: Sequence[Factors], limit: int, **more: Any) -> dict[Factors, np.ndarray]:
    """(objectives,) of each, to be maximised, on the held-out prompts and seeds."""
    from rich.console import Console
    from rich.progress import track

    from search.evaluation import Evaluator, Task
    from search.evaluation.loading import load_parts
    from search.settings.prompts import seeds

    job = prepared(limit, **more)
    generator, metrics = load_parts(job.config, job.spec)
    generator.prepare(job.held_out)
    evaluator = Evaluator(generator, metrics, job.held_out, seeds(job.held_out, 0, "confirm"))
    found = {}
    for factors in track(candidates, "judging", console=Console(stderr=True)):
        values = evaluator(Task(Candidate(factors), len(job.held_out))).values
        found[factors] = SIGNS * [values[name].value for name in DIRECTIONS]
    return found


def main(
    trials: Annotated[int, typer.Option(min=4, help="Of the naive loop.")] = 64,
    limit: Annotated[int, typer.Option(min=16, help="Prompts of a trial.")] = 48,
    held_out: Annotated[int | None, typer.Option(min=4, help="Prompts that judge (default: all others).")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of sampling (default: the model's).")] = None,
) -> None:
    """Run both, judge, print."""
    theirs = naive(limit, trials, steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        mine = ours(limit, trials * limit, Path(folder), steps)
    runs = {"naive": sparse(theirs), "ours": sparse(mine)}
    candidates = {factors for run in runs.values() for each in run for factors in each.recommended}
    truth = judged([IDENTITY, *(candidates - {IDENTITY})], limit, held_out=held_out, steps=steps)
    table = np.stack(list(truth.values()))
    front = table[nondominated(table)]
    reference = front.min(0) - 0.1 * np.ptp(table, axis=0)

    def worth(each: Checkpoint) -> float:
        return hypervolume(np.stack([truth[factors] for factors in each.recommended]), reference)

    whole = hypervolume(front, reference)
    for name, run in runs.items():
        seconds = f"seconds{' of the processor' * BY_CPU}"
        print(f"{name}: {seconds}, images, candidates recommended, hypervolume (share of the best known)")
        for each in run:
            size = len(each.recommended)
            print(f"  {each.seconds:7.0f} {each.images:7d} {size:4d} {worth(each) / whole:7.3f}")
    goal = worth(theirs[-1])
    reached = next((each for each in runs["ours"] if worth(each) >= goal), None)
    print(f"the baseline: {hypervolume(truth[IDENTITY][None], reference) / whole:.3f}")
    if reached is None:
        print(f"ours does not reach the naive loop's {goal / whole:.3f}")
    else:
        print(
            f"ours reaches the naive loop's {goal / whole:.3f} after {reached.seconds / theirs[-1].seconds:.2f} of its "
            f"{theirs[-1].seconds:.0f} s and {reached.images / theirs[-1].images:.2f} of its images"
        )


if __name__ == "__main__":
    typer.run(main)
