"""Work split into batches that fit the memory, all of one shape where it is known how much work there will be.

In batches of one shape the same kernels run for every image, so that two candidates' images differ by the candidates
alone, and a compiler compiles once. The last batch is filled up; the shape is chosen so that little is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch

from configs.cpu_batches import shares, side_by_side
from configs.shortages import is_shortage

from .generate import GenerationError

LARGEST = 32
"""Images of a lane's batch: larger ones are no faster for each image."""
Done = tuple[slice, torch.Tensor]
Work = Callable[[Sequence[int]], torch.Tensor]
"""From rows to what they give, (rows, ...)."""
Then = Callable[[slice, torch.Tensor], torch.Tensor]


class Batches:
    """Splits work into batches that fit the memory.

    A batch that doesn't fit is tried again at half its size, and the size stays there.
    """

    def __init__(
        self,
        size: int | None,
        room: Room | None = None,
        spare: Callable[[], bool] = lambda: False,
        lanes: bool = False,
        filled: bool = False,
    ) -> None:
        """size: None is as `room` finds it, by a first batch of one. spare: does something that lets a single one
        take less memory; False where there is nothing left to do. lanes: batches side by side, as in
        `configs.cpu_batches`; there None is an even share for each, LARGEST at the most. filled: the last batch is
        filled up, by its last row.
        """
        self._even = lanes and size is None
        self._most = LARGEST if self._even else 1 if size is None else size
        self._room = room if size is None and not lanes else None
        self._spare, self._lanes, self.filled = spare, lanes, filled
        self._counts: tuple[int, ...] = ()
        self.size = self._most

    def expect(self, counts: Sequence[int], divided: bool = False) -> None:
        """Have one shape from now on. counts: how much work there will be at a time. divided: the same work may come
        whole or in pieces. Else there is no shape side by side: a batch is a share of the work there, so the same for
        whoever has the same work.
        """
        if divided or not self._lanes:
            self.filled, self._even, self._counts = True, False, tuple(counts)
            self._settle()

    def _settle(self) -> None:
        self.size = shape(self._counts, self._most) if self._counts else self._most

    def run(
        self,
        n: int,
        work: Work,
        alone: bool = False,
        then: Then = lambda part, done: done,
        probe: Callable[[], object] | None = None,
    ) -> Iterator[Done]:
        """(part, then(part, work(its rows))) for all parts of range(n), in the order in which they are done.

        alone: one by one. then: what does not count in the batch's memory. probe: takes what a batch of one does; else
        one is done, and thrown away.

        Raises:
            GenerationError: out of memory with a single one.
        """
        if self._room is not None and n:
            self._measure(probe or (lambda: work(range(1))), self._room)
        if not self._lanes or alone:
            yield from self._run(slice(0, n), work, then)
            return
        parts = shares(n, self.size) if self._even else [slice(i, i + self.size) for i in range(0, n, self.size)]
        whole = [slice(p.start, min(p.stop, n)) for p in parts]
        yield from side_by_side(whole, lambda part: self._run(part, work, then))

    def _run(self, whole: slice, work: Work, then: Then) -> Iterator[Done]:
        start, n = whole.start, whole.stop
        while start < n:
            part, size, done = slice(start, min(start + self.size, n)), self.size, None
            try:
                done = work(self._rows(part, size))
            except GenerationError:
                raise
            except Exception as error:
                if not is_shortage(error):
                    raise
                tried = size if self.filled else part.stop - part.start
                if tried > 1:
                    self._most = tried // 2
                    self._settle()
                elif not self._spare():
                    raise GenerationError(f"not enough memory for a single image: {error}") from error
            if done is None:  # outside the handler, which holds on to the tensors of the failed try
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            yield part, then(part, done[: part.stop - part.start])
            start = part.stop

    def _rows(self, part: slice, size: int) -> Sequence[int]:
        rows = range(part.start, part.stop)
        return [*rows, *[rows[-1]] * (size - len(rows))] if self.filled and len(rows) < size else rows

    def _measure(self, probe: Callable[[], object], room: Room) -> None:
        self._room = None
        try:
            with _eager():  # or a shape of its own would be compiled
                room.before()
                probe()
                self._most = room.size()
        except Exception as error:
            if not is_shortage(error):
                raise
        self._settle()


def shape(counts: Sequence[int], most: int) -> int:
    """The size of all batches for pieces of work of these counts: of those from `most` (or the smallest count, where
    that is less) down to half of it the one that leaves the least to fill up."""
    top = max(1, min(most, *counts))
    return min(range(top // 2 + 1, top + 1), key=lambda size: (sum(-count % size for count in counts), -size))


class Room:
    """How large a batch fits into a CUDA device's memory, by what a batch of one takes at its peak."""

    MOST, SHARE = 32, 0.8
    """Batches beyond MOST are no faster for each image; a share of what is free is left to others."""

    def __init__(self, device: torch.device, most: int = MOST) -> None:
        self._device, self._limit = device, most

    def before(self) -> None:
        """The batch of one begins."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._held = torch.cuda.memory_allocated(self._device)

    def size(self) -> int:
        """The batch of one has ended: the size that fits."""
        free, _ = torch.cuda.mem_get_info(self._device)
        ours = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        peak = torch.cuda.max_memory_allocated(self._device) - self._held
        return fitting(free + ours, peak, self._limit)


def fitting(free: int, peak: int, most: int = Room.MOST) -> int:
    """The batch size that fits into `free` bytes where a batch of one takes `peak`: 1 to `most`."""
    return max(1, min(most, int(Room.SHARE * free / max(1, peak))))


def _eager() -> Any:
    """What is compiled runs as it was written."""
    return torch.compiler.set_stance("force_eager") if hasattr(torch.compiler, "set_stance") else nullcontext()
