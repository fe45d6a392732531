"""Optuna's storage on a server that may go away for a while: calls wait and are retried."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import sqlalchemy.exc
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage

PATIENCE = 600  # seconds that a server may be away
LOST = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.PendingRollbackError)


def waiting(call: Callable[[], Any], before_next: Callable[[], None] = lambda: None) -> Any:
    """What the call gives, made again while the server is away, for PATIENCE seconds at most."""
    pause, end = 0.2, time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except Exception as error:
            if not _away(error) or time.monotonic() > end:
                raise
        before_next()
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def _away(error: BaseException) -> bool:
    """Whether the server could not be reached, or went away while it answered."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, LOST):
            return True
        if isinstance(cause, sqlalchemy.exc.DBAPIError) and cause.connection_invalidated:
            return True
        cause = cause.__cause__
    return False


class ReconnectingStorage(RDBStorage):
    """A call that was answered to nobody is made twice: an end that was told already counts as told, and a trial that
    was made for nobody runs until its lease is over."""

    def set_trial_state_values(self, trial_id: int, *args: Any, **kwargs: Any) -> bool:
        """As Optuna's."""
        before = 0

        def call() -> bool:
            nonlocal before
            before += 1
            try:
                return RDBStorage.set_trial_state_values(self, trial_id, *args, **kwargs)
            except UpdateFinishedTrialError:
                if before > 1:
                    return True
                raise

        return bool(waiting(call, self.forget))

    def forget(self) -> None:
        """Leave a session whose connection broke in the middle of its work."""
        with suppress(sqlalchemy.exc.SQLAlchemyError):
            self.scoped_session.remove()


def _waiting(name: str) -> Callable[..., Any]:
    plain = getattr(RDBStorage, name)

    @functools.wraps(plain)
    def method(self: ReconnectingStorage, *args: Any, **kwargs: Any) -> Any:
        return waiting(lambda: plain(self, *args, **kwargs), self.forget)

    return method


BY_CACHE = ("_create_new_trial", "_set_trial_param", "_get_trials", "_get_best_trial_id", "_get_stale_trial_ids")
"""What Optuna's cache in front of a storage calls beside the public interface."""

for _name in {*BaseStorage.__abstractmethods__, *BY_CACHE, "record_heartbeat"} - {"set_trial_state_values"}:
    setattr(ReconnectingStorage, _name, _waiting(_name))
