"""What a study costs beside generating and scoring: `python benchmarks/overhead.py`, minutes on two cores.

A study of the embedded model as `python -m search.run` has it, with a clock round its parts. First how long after the
imports of what a study needs its first images are begun. Then what the main thread does from that moment on; and beside
it the CPU time of MLflow's thread, which on a machine whose cores are all busy is taken from the others. By wall time;
with OMP_NUM_THREADS=1, where the main thread makes the images itself, by its CPU time, which other work of the machine
doesn't lengthen.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import typer

from benchmarks.clock import Clock, shares

WORK = "generating and scoring"


class Calls:
    """Of a function, in whatever thread: when each began, by time.perf_counter, and its CPU seconds."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.seconds: list[float] = []

    def of(self, function: Callable[..., Any], told: Callable[[], None] = lambda: None) -> Callable[..., Any]:
        """The function, watched. told: called before each call."""

        @wraps(function)
        def watched(*args: Any, **more: Any) -> Any:
            told()
            self.began.append(time.perf_counter())
            before = time.thread_time()
            try:
                return function(*args, **more)
            finally:
                self.seconds.append(time.thread_time() - before)

        return watched


def imports() -> float:
    """Seconds that the imports of a study take."""
    began = time.perf_counter()
    import diffusers
    import mlflow
    import open_clip
    import optuna
    import transformers

    # These libraries import what follows only where it is named.
    _ = diffusers.StableDiffusionPipeline, diffusers.DPMSolverMultistepScheduler
    _ = transformers.CLIPTextModel, transformers.AutoModel, transformers.CLIPTokenizer
    _ = mlflow.MlflowClient, open_clip.create_model, optuna.storages.RDBStorage
    return time.perf_counter() - began


def main(
    trials: Annotated[int, typer.Option(min=4, help="Of the study.")] = 24,
    limit: Annotated[int, typer.Option(min=16, help="Prompts.")] = 48,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps [the model's].")] = None,
) -> None:
    """Run the study, and print."""
    seconds = imports()
    from unittest import mock

    import torch
    from rich.console import Console

    from search import session
    from search.evaluation import Evaluator
    from search.session import run_study
    from search.settings import reading as settings
    from search.study.coordinator import Coordinator
    from search.tracking.background import BackgroundTracker

    evaluated, logged = Calls(), Calls()
    before: dict[str, float] = {}
    clock = Clock(time.thread_time if torch.get_num_threads() == 1 else time.perf_counter)

    def told() -> None:
        if not before:
            before.update(clock.read())

    named = [
        (session, "assemble", "the model"),
        (BackgroundTracker, "open", "MLflow's database"),
        (Coordinator, "__init__", "Optuna's database"),
        (Evaluator, "__call__", WORK),
        (Coordinator, "_begin", "sampler"),
        (Coordinator, "_judge", "racing"),
        (Coordinator, "_kept", "records"),
        (session, "concluded", "front, confirmation"),
        (BackgroundTracker, "finish", "MLflow's end"),
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(Evaluator, "__call__", evaluated.of(Evaluator.__call__, told)),
        mock.patch.object(BackgroundTracker, "_attempt", logged.of(BackgroundTracker._attempt)),
        clock.reading(named),
    ):
        flags: dict[str, Any] = {"model": "shapes", "trials": trials, "limit": limit, "steps": steps}
        config = settings.load(None, flags | {"mlruns": folder, "tracking_uri": "local"})
        cpu = time.process_time()
        result = run_study(config, Console(file=io.StringIO()))
        cpu = time.process_time() - cpu
    print(f"imports: {seconds:.1f} s; the first images begin {sum(before.values()):.1f} s after: {shares(before)}")
    after = {name: spent - before.get(name, 0.0) for name, spent in clock.seconds.items()}
    whole = sum(after.values())
    rest = 1 - after[WORK] / whole
    print(f"{result['trials']} trials of up to {limit} prompts: {whole:.1f} s, {shares(after)}")
    print(f"neither generating nor scoring: {100 * rest:.1f} %, {whole * rest / result['trials']:.2f} s a trial")
    beside = sum(logged.seconds)
    print(f"MLflow's thread beside it: {beside:.1f} s, {100 * beside / cpu:.1f} % of the process's CPU time")


if __name__ == "__main__":
    typer.run(main)
