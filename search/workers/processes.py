"""Processes of this machine that evaluate, each with the model loaded once, and each made again after its death."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from configs import UserError, devices
from search.evaluation import Evaluators, OnImages
from search.workers.crew import TRIES, Job, WorkerDied

CHECK = 10.0  # seconds between two looks whether workers can end at all


class Worker(Protocol):
    """A worker in another process, doing one job at a time."""

    def ready(self) -> Future[Any]:
        """Done once it has loaded the model; raises UserError where it can't."""
        ...

    def submit(self, job: Job) -> Future[Any]: ...
    def close(self) -> None: ...


class WorkerPool:
    """Several workers, each made by one of the functions, and made again if it dies.

    A worker counts once it has loaded the model, so workers may join at any time.
    """

    def __init__(
        self,
        makers: Sequence[Callable[[], Worker]],
        died: tuple[type[BaseException], ...],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """died: the exceptions by which a worker's death shows. check: called while no job ends; raises UserError where
        none can end any more.
        """
        self._makers, self._died, self._check = list(makers), died, check
        self._next_check = 0.0
        self._workers: dict[int, Worker] = {}
        self._idle: list[int] = []
        self._coming: dict[Future[Any], int] = {}
        self._busy: dict[Future[Any], tuple[int, int]] = {}  # → worker, key
        self._lost = 0  # workers in a row that died before they had loaded
        for number in range(len(makers)):
            self._make(number)

    @property
    def free(self) -> int:
        return len(self._idle)

    def submit(self, key: int, job: Job) -> None:
        worker = self._idle.pop(0)
        try:
            future = self._workers[worker].submit(job)
        except self._died as error:  # while it had nothing to do
            future = Future()
            future.set_exception(error)
        self._busy[future] = worker, key

    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        done: set[Future[Any]] = set()
        while not done:
            pause = CHECK if seconds is None else min(CHECK, seconds)
            done = wait([*self._busy, *self._coming], timeout=pause, return_when=FIRST_COMPLETED).done
            if not done and time.monotonic() >= self._next_check:
                self._check()
                self._next_check = time.monotonic() + CHECK
            if seconds is not None:
                break
        for future in done & self._coming.keys():
            self._came(future)
        return [self._ended(future) for future in done & self._busy.keys()]

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def _make(self, number: int) -> None:
        self._workers[number] = self._makers[number]()
        self._coming[self._workers[number].ready()] = number

    def _came(self, future: Future[Any]) -> None:
        worker = self._coming.pop(future)
        try:
            future.result()
        except self._died as error:
            self._lost += 1
            if self._lost >= TRIES * len(self._makers):
                raise UserError(f"workers die while they load the model: {error}") from error
            self._workers[worker].close()
            self._make(worker)
        else:
            self._lost = 0
            self._idle.append(worker)

    def _ended(self, future: Future[Any]) -> tuple[int, Any]:
        worker, key = self._busy.pop(future)
        try:
            found = future.result()
        except self._died:
            self._workers[worker].close()
            self._make(worker)
            return key, WorkerDied("its worker ended before it did")
        except Exception as error:
            found = error
        self._idle.append(worker)
        return key, found


class Process:
    """A worker in a process of this machine."""

    def __init__(self, load: Callable[[], Evaluators], environment: Mapping[str, str], workers: int) -> None:
        """load: makes the parts, in the new process; it is pickled. environment: set there before anything loads.
        workers: that share the cores."""
        from multiprocessing import get_context

        self._pool = ProcessPoolExecutor(
            1, get_context("spawn"), initializer=_begin, initargs=(load, dict(environment), workers, os.getpid())
        )

    def ready(self) -> Future[Any]:
        return self._pool.submit(_do, _nothing)

    def submit(self, job: Job) -> Future[Any]:
        return self._pool.submit(_do, job)

    def close(self) -> None:
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(wait=False, cancel_futures=True)


def processes(load: Callable[[], Evaluators], workers: int, device: str | None) -> WorkerPool:
    """Workers on this machine, each on a share of the cores and on a CUDA device of its own (in turn, where there are
    fewer). device: as asked for: "cuda" or None, "cuda:1" (that one for all) or "cpu"."""

    def maker(environment: Mapping[str, str]) -> Callable[[], Worker]:
        return lambda: Process(load, environment, workers)

    return WorkerPool([maker(each) for each in environments(workers, device)], (BrokenProcessPool,))


def environments(workers: int, device: str | None) -> list[dict[str, str]]:
    """For each worker, by which it sees the card that is its own."""
    variable, cards = devices.cards() if device in (None, "cuda") else ("", [])
    return [{variable: cards[number % len(cards)]} if cards else {} for number in range(workers)]


_loaded: Evaluators | UserError | None = None


def _begin(load: Callable[[], Evaluators], environment: Mapping[str, str], workers: int, parent: int) -> None:
    """In a new process: load the model, and end when the parent does, however it ends."""
    import signal
    import threading

    global _loaded
    os.environ.update(environment)
    devices.limit_threads(workers)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        _loaded = load()
    except UserError as error:  # an initializer that raises would look like a death
        _loaded = error


def _nothing(held: Evaluators, on_images: OnImages) -> None:
    """What a worker does to show that it has loaded."""


def _do(job: Job) -> Any:
    if isinstance(_loaded, UserError):
        raise _loaded
    assert _loaded is not None
    return job(_loaded, lambda done: None)
