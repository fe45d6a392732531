"""Optuna's storage on a server that may go away for a while: calls wait and are retried."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import sqlalchemy.exc
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage

from search.storage.waiting import Waiting

CHANGES = (
    "set_trial_state_values",
    "set_trial_param",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "create_new_trial",
    "_create_new_trial",
    "_set_trial_param",
)
"""What `before_change` stands before."""


def allow() -> None:
    """Refuses nothing."""


class ReconnectingStorage(RDBStorage):
    """A call that was answered to nobody is made twice: an end that was told already counts as told, and a trial that
    was made for nobody runs until its lease is over."""

    def __init__(
        self,
        *args: Any,
        waiting: Waiting | None = None,
        before_change: Callable[[], None] = allow,
        **kwargs: Any,
    ) -> None:
        """before_change: may refuse, by an exception, that a trial is changed."""
        self._waiting, self._before_change = waiting or Waiting(), before_change
        super().__init__(*args, **kwargs)

    def set_trial_state_values(self, trial_id: int, *args: Any, **kwargs: Any) -> bool:
        """As Optuna's."""
        self._before_change()
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

        return bool(self._waiting.until_answered(call, self.forget))

    def forget(self) -> None:
        """Leave a session whose connection broke in the middle of its work."""
        with suppress(sqlalchemy.exc.SQLAlchemyError):
            self.scoped_session.remove()


def _reconnecting(name: str) -> Callable[..., Any]:
    plain = getattr(RDBStorage, name)

    @functools.wraps(plain)
    def method(self: ReconnectingStorage, *args: Any, **kwargs: Any) -> Any:
        if name in CHANGES:
            self._before_change()
        return self._waiting.until_answered(lambda: plain(self, *args, **kwargs), self.forget)

    return method


BY_CACHE = ("_create_new_trial", "_set_trial_param", "_get_trials", "_get_best_trial_id", "_get_stale_trial_ids")
"""What Optuna's cache in front of a storage calls beside the public interface."""

for _name in {*BaseStorage.__abstractmethods__, *BY_CACHE, "record_heartbeat"} - {"set_trial_state_values"}:
    setattr(ReconnectingStorage, _name, _reconnecting(_name))
