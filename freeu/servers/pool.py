"""Hands images out to servers, several at a time, so that a server always has the next one waiting.

Each image has a server of its own, by its prompt and seed, so that the images of a pair come from one machine; a server
with nothing left to do takes others'. A server that stops answering gives its images back and is waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from freeu.generate import GenerationError

from .http import Unreachable

PATIENCE = 600.0
"""Seconds that a server may be away."""
LOOK = 0.5
"""Seconds between two looks whether it is back."""
BEAT = 0.1
"""Seconds between two looks whether the user wants to stop."""


class Stopped(Exception):
    """The user wants no more images, or another one failed."""


class Watch:
    """What a server asks and tells while it works on one image."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop, self.done = stop, 0.0

    def step(self, done: float | None = None) -> None:
        """done: the share of the image that is ready. Raises Stopped."""
        if done is not None:
            self.done = done
        if self._stop.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Raises Stopped, at once where it comes meanwhile."""
        if self._stop.wait(seconds):
            raise Stopped


class Server(Protocol):
    """A server that draws. depth: images that it is given at a time, the ones beyond the first waiting in its queue."""

    @property
    def depth(self) -> int: ...

    def alive(self) -> bool:
        """Whether it answers; asks it."""
        ...


Draw = Callable[[int, int, Watch], torch.Tensor]
"""(server's number, image's number, its watch) → pixels; raises Unreachable where the server is away."""


class Run:
    """One round of images."""

    def __init__(self, servers: Sequence[Server], homes: Sequence[int], draw: Draw) -> None:
        """homes: of each image the number of its server."""
        self._servers, self._draw = servers, draw
        self._waiting = list(enumerate(homes))
        self._images: dict[int, torch.Tensor] = {}
        self._watches: dict[int, Watch] = {}
        self._lock, self._over, self._stop = threading.Lock(), threading.Event(), threading.Event()
        self._errors: list[Exception] = []
        self._n = len(homes)

    def images(self, on_step: Callable[[float], None]) -> list[torch.Tensor]:
        """All of them, in order. on_step: told how many are done; what it raises stops the servers and is passed on.

        Raises:
            GenerationError: an image failed, or no server is left.
        """
        lanes = [
            threading.Thread(target=self._lane, args=(number,), daemon=True)
            for number, server in enumerate(self._servers)
            for _ in range(server.depth)
        ]
        for lane in lanes:
            lane.start()
        told = -1.0
        try:
            while any(lane.is_alive() for lane in lanes) and not self._over.wait(BEAT):
                with self._lock:
                    done = len(self._images) + sum(watch.done for watch in self._watches.values())
                told = max(told, done)  # an image that is begun again is no step back
                on_step(min(told, self._n))
        finally:
            self._stop.set()
            for lane in lanes:
                lane.join()
        if self._errors and len(self._images) < self._n:
            raise self._errors[0]
        on_step(self._n)
        return [self._images[number] for number in range(self._n)]

    def _lane(self, number: int) -> None:
        try:
            while (image := self._next(number)) is not None:
                watch = self._watches[image]
                try:
                    found = self._draw(number, image, watch)
                except Unreachable as error:
                    self._given_back(image, number)
                    self._wait(number, error)
                    continue
                with self._lock:
                    self._images[image] = found
                    del self._watches[image]
                    if len(self._images) == self._n:
                        self._over.set()
        except Stopped:
            pass
        except Exception as error:  # told by `images`, in the thread that asked
            self._errors.append(error)
            if not isinstance(error, Away):
                self._over.set()

    def _next(self, number: int) -> int | None:
        """The next image for a server, its own first; None where all are done. Waits while others might give back."""
        while not self._over.is_set() and not self._stop.is_set():
            with self._lock:
                if self._waiting:
                    place = next((i for i, (_, home) in enumerate(self._waiting) if home == number), 0)
                    image, _ = self._waiting.pop(place)
                    self._watches[image] = Watch(self._stop)
                    return image
                if len(self._servers) == 1 and not self._watches:
                    return None
            self._over.wait(BEAT)
        return None

    def _given_back(self, image: int, home: int) -> None:
        with self._lock:
            del self._watches[image]
            self._waiting.insert(0, (image, home))

    def _wait(self, number: int, error: Unreachable) -> None:
        """Until the server is back. Raises Away, and Stopped."""
        until = time.monotonic() + PATIENCE
        while not self._over.is_set():
            if self._stop.wait(LOOK):
                raise Stopped
            if self._servers[number].alive():
                return
            if time.monotonic() > until:
                raise Away(f"{self._servers[number]} has not answered for {PATIENCE / 60:g} minutes: {error}")


class Away(GenerationError):
    """A server that does not come back; the others go on."""
