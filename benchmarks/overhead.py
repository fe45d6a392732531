"""What a study costs beside generating and scoring: `python benchmarks/overhead.py`, minutes on two cores.

A study of the embedded model as `python -m search.run` has it, with a clock round its parts: what the main thread does
by wall time, from the moment that the model is loaded; and beside that the CPU time of MLflow's thread, which on a
machine whose cores are all busy is taken from the others.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import typer

from benchmarks.clock import Clock, shares

WORK, LOADING = "generating and scoring", "loading"


def main(
    trials: Annotated[int, typer.Option(min=4, help="Of the study.")] = 24,
    limit: Annotated[int, typer.Option(min=16, help="Prompts.")] = 48,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps [the model's].")] = None,
) -> None:
    """Run the study, and print."""
    from rich.console import Console

    from search import config as settings
    from search import session
    from search.evaluate import Evaluator
    from search.outbox import Outbox
    from search.run import execute
    from search.study import Study

    clock, threads = Clock(time.perf_counter), Threads()
    named = [
        (session, "assemble", LOADING),
        (Outbox, "open", LOADING),
        (Evaluator, "__call__", WORK),
        (Study, "_begin", "sampler"),
        (Study, "_judge", "racing"),
        (Study, "_kept", "records"),
        (Outbox, "trial", "telling MLflow"),
        (session.Session, "_concluded", "front, confirmation"),
        (Outbox, "finish", "MLflow's end"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        flags: dict[str, Any] = {"model": "shapes", "trials": trials, "limit": limit, "steps": steps}
        config = settings.load(None, flags | {"mlruns": folder, "tracking_uri": "local"})
        with clock.reading(named), threads.reading(Outbox, "_attempt"):
            began = time.process_time()
            result = execute(config, Console(file=io.StringIO()))
            cpu = time.process_time() - began
    loading = clock.seconds.pop(LOADING)
    whole = sum(clock.seconds.values())
    rest = 100 * (1 - clock.seconds[WORK] / whole)
    print(f"{result['trials']} trials of {limit} prompts: {whole:.1f} s after {loading:.1f} s of loading")
    print(f"of the main thread's wall time: {shares(clock.seconds)}")
    print(f"neither generating nor scoring: {rest:.1f} %, {whole * rest / 100 / trials:.2f} s a trial")
    share = 100 * threads.seconds / cpu
    print(f"MLflow's thread beside it: {threads.seconds:.2f} s, {share:.1f} % of the process's CPU time")


class Threads:
    """CPU seconds of a method, in whatever thread it is called."""

    seconds = 0.0

    def reading(self, owner: Any, name: str) -> Any:
        """For the length of a block."""
        from unittest import mock

        plain = getattr(owner, name)

        def timed(*args: Any, **more: Any) -> Any:
            began = time.thread_time()
            try:
                return plain(*args, **more)
            finally:
                self.seconds += time.thread_time() - began

        return mock.patch.object(owner, name, timed)


if __name__ == "__main__":
    typer.run(main)
