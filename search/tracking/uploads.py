"""Files on their way to MLflow, each with a fate of its own: there, refused, or to be tried again after growing pauses.

A proxy that takes no file of that size (413), a full disk behind a server: numbers and verdict get there all the same,
and so do the other files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from configs import UserError
from search.storage.mlflow_location import Settings
from search.tracking.errors import Unreachable, told

FIRST, LONGEST = 10.0, 3600.0  # seconds before a file is tried again: twice as long each time
SILENT = 2  # files without an answer after which the others of a round are not tried


@dataclass(frozen=True)
class Failure:
    """Of the last try. after: when the next one may be."""

    error: UserError
    pause: float
    after: float


class Uploads:
    """`begin` opens a round of tries."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._kept: dict[str, Callable[[], None]] = {}  # to be tried again in `retry`
        self._silent = 0
        self.failed: dict[str, Failure] = {}

    def begin(self, last: bool = False) -> None:
        """last: nothing comes after it, so that all which got no answer is tried now; what was refused is not."""
        self._silent = 0
        if last:
            waiting = {name: each for name, each in self.failed.items() if isinstance(each.error, Unreachable)}
            self.failed |= {name: Failure(each.error, each.pause, 0.0) for name, each in waiting.items()}

    def tried(self, name: str, upload: Callable[[], None]) -> bool:
        """Whether the file is there now. False too where it isn't time for another try."""
        before, now = self.failed.get(name), self._clock()
        if self._silent >= SILENT or (before is not None and now < before.after):
            if before is None:
                self.failed[name] = Failure(Unreachable(f"{self._settings.place} does not answer"), FIRST, now)
            return False
        try:
            with told(f"keep {name}", self._settings):
                upload()
        except UserError as error:
            self._silent += isinstance(error, Unreachable)
            pause = FIRST if before is None else min(2 * before.pause, LONGEST)
            self.failed[name] = Failure(error, pause, now + pause)
            return False
        self.failed.pop(name, None)
        return True

    def put(self, name: str, upload: Callable[[], None]) -> None:
        """Try at once, and in each `retry` until it is there or another one of that name is put."""
        self._kept[name] = upload
        if self.tried(name, upload):
            del self._kept[name]

    def retry(self) -> None:
        for name, upload in tuple(self._kept.items()):
            if self.tried(name, upload):
                del self._kept[name]

    @property
    def waiting(self) -> bool:
        """Whether a file is missing that the server did not refuse."""
        return any(isinstance(each.error, Unreachable) for each in self.failed.values())

    def said(self) -> str:
        """What is missing and why, in a sentence; empty where nothing is."""
        if not self.failed:
            return ""
        first, failure = next(iter(self.failed.items()))
        files = first if len(self.failed) == 1 else f"{first} and {len(self.failed) - 1} more files"
        return f"{files} could not be kept ({failure.error})"
