"""Ctrl-C while images are made: the first stops after the denoising step in flight, the second at once."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any

SAID = "stopping after this step; Ctrl-C again stops at once"
_pressed = threading.Event()


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal's handler, for the time before images are made: raises KeyboardInterrupt, and `check` does it again."""
    _pressed.set()
    raise KeyboardInterrupt


def check() -> None:
    """Raises KeyboardInterrupt where `interrupt` did and Python dropped it, as it does in a destructor."""
    if _pressed.is_set():
        _pressed.clear()
        raise KeyboardInterrupt


class Stopping:
    """A context manager; call `check` after each step."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> Stopping:
        check()
        # Elsewhere signals don't arrive; where Ctrl-C is ignored (a job in the background) it stays so.
        mine = threading.current_thread() is threading.main_thread()
        if mine and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if error is None:
            self.check()

    def check(self) -> None:
        """Raises KeyboardInterrupt where Ctrl-C was pressed."""
        if self._asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.check()
        self._asked = True
        print(SAID, file=sys.stderr, flush=True)
