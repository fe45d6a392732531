"""Several batches side by side on a CPU, each on a thread of its own that keeps one core busy.

Threads that share the work of one small batch wait for one another more than they work, and where the machine has
other work to do, far more (docs/log.md, 2026-11-25).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

Result = TypeVar("Result")


def shares(n: int, most: int) -> list[slice]:
    """range(n) in even parts of at most `most`, as many as keep torch's threads busy."""
    threads = torch.get_num_threads()
    size = max(1, math.ceil(n / (threads * max(1, math.ceil(n / (threads * most))))))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def in_order(n: int, most: int, work: Callable[[slice], Result]) -> list[Result]:
    """What work(part) gives for even parts of range(n), one after the other; see `side_by_side`."""
    parts = shares(n, most)
    found = dict(side_by_side(parts, lambda part: [(part.start, work(part))]))
    return [found[part.start] for part in parts]


def side_by_side(parts: Sequence[slice], work: Callable[[slice], Iterable[Result]]) -> Iterator[Result]:
    """What work(part) gives for each part, in the order in which they are done; without gradients.

    On as many threads as torch has, each of which works alone. What the work raises is raised here, when what runs
    beside it has ended.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(parts) < 2:
        for part in parts:
            yield from work(part)
        return

    @torch.inference_mode()
    def listed(part: slice) -> list[Result]:
        return list(work(part))

    try:
        with ThreadPoolExecutor(threads, "lane", torch.set_num_threads, (1,)) as pool:
            jobs = [pool.submit(listed, part) for part in parts]
            try:
                for job in as_completed(jobs):
                    yield from job.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        torch.set_num_threads(threads)  # a lane's own number is what threads to come would begin with
