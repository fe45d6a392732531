"""Where the time of a run goes: a clock round named functions, put there for the length of a block."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

REST = "rest"


class Clock:
    """Seconds by part; what a part spends in another counts as the other's. For one thread."""

    def __init__(self, now: Callable[[], float]) -> None:
        """now: seconds, as time.perf_counter or time.thread_time tell them."""
        self.seconds: dict[str, float] = {REST: 0.0}
        self._now, self._inside, self._since = now, [REST], 0.0

    @contextmanager
    def reading(self, named: Sequence[tuple[Any, str, str]]) -> Iterator[None]:
        """Reads while the block runs. named: (class or object, its function, the part that this counts as)."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in named]
        for owner, name, part in named:
            setattr(owner, name, self._timed(getattr(owner, name), part))
        self._since = self._now()
        try:
            yield
        finally:
            self._turn()
            for owner, name, plain in before:
                setattr(owner, name, plain)

    def read(self) -> dict[str, float]:
        """Seconds by part until now, while it is reading."""
        self._turn()
        return dict(self.seconds)

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **more: Any) -> Any:
            self._turn()
            self._inside.append(part)
            try:
                return function(*args, **more)
            finally:
                self._turn()
                self._inside.pop()

        return timed

    def _turn(self) -> None:
        """What has passed counts for the part that runs now."""
        now, part = self._now(), self._inside[-1]
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


def shares(seconds: dict[str, float]) -> str:
    """In per cent, the largest first."""
    whole = sum(seconds.values())
    falling = sorted(seconds.items(), key=lambda each: -each[1])
    return ", ".join(f"{name} {100 * each / whole:.1f} %" for name, each in falling)
