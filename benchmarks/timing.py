"""Fair timing of several ways to do one thing: in turn, many times, medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

SHORTEST = 0.005  # seconds that one measurement lasts, by repeating what is faster


def interleaved(runs: Sequence[Callable[[], object]], rounds: int, device: torch.device) -> list[float]:
    """Median seconds of one call of each, on a warm machine; each round calls all of them, in turn."""
    repeats = []
    for run in runs:
        timed(run, 1, device)  # the first call compiles, allocates and fills caches
        repeats.append(max(1, min(1000, round(SHORTEST / max(timed(run, 2, device), 1e-9)))))
    found: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for seconds, run, times in zip(found, runs, repeats, strict=True):
            seconds.append(timed(run, times, device))
    return [median(each) for each in found]


def timed(run: Callable[[], object], times: int, device: torch.device) -> float:
    """Seconds of one call, over `times` of them."""
    began = time.perf_counter()
    for _ in range(times):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / times
