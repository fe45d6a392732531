"""Waits for a server that is away: a call that it didn't answer is made again, and a person is told once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy.exc

PATIENCE = 600.0  # seconds that a server may be away
HURRY = 3.0  # the same, once the run is to end
QUIET = 2.0  # that nobody is told
LOST = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.PendingRollbackError)


def silent(text: str) -> None:
    """Tells nobody."""


class Waiting:
    """For one server. place: it, without a password; say: tells a person."""

    def __init__(self, place: str = "the server", say: Callable[[str], None] = silent) -> None:
        self._place, self._say = place, say
        self._patience = PATIENCE
        self._told = False

    def hurry(self) -> None:
        """The run is to end: from now on a server that is away is waited for no more than a moment."""
        self._patience = HURRY

    def until_answered(self, call: Callable[[], Any], before_next: Callable[[], None] = lambda: None) -> Any:
        """What the call gives, made again while the server is away. Raises what it did where that lasts too long."""
        pause, began = 0.2, time.monotonic()
        while True:
            try:
                found = call()
            except Exception as error:
                if not away(error) or time.monotonic() > began + self._patience:
                    raise
                self._tell(error, time.monotonic() - began)
            else:
                if self._told:
                    self._told = False
                    self._say(f"{self._place} is back")
                return found
            before_next()
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _tell(self, error: Exception, waited: float) -> None:
        if not self._told and waited > QUIET:
            self._told = True
            self._say(
                f"warning: {self._place} does not answer ({reason(error)}): waiting for it, at most "
                f"{self._patience / 60:.0f} min; Ctrl-C ends the run, and the same command resumes it"
            )


def away(error: BaseException) -> bool:
    """Whether the server could not be reached, or went away while it answered."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LOST):
            return True
        if isinstance(cause, sqlalchemy.exc.DBAPIError) and cause.connection_invalidated:
            return True
        cause = cause.__cause__
    return False


def reason(error: BaseException) -> str:
    """The first line of what is behind an error of Optuna's or SQLAlchemy's."""
    cause = error.__cause__ or error
    return next(iter(str(cause).strip().splitlines()), type(cause).__name__)
