"""What the dead left, and what others did: whatever runs and has lost its process (`storage.lost`) is put right.

- Its record is there: it was evaluated, so its values are told.
- In a folder of one's own the same trial goes on, before all else: a study is the one that its seed gives, however
  often it was killed.
- On a server others went on meanwhile: it is told as failed, and its candidate is queued again, once, to come next.
- A candidate under which so many processes died (`FATAL`) is told as failed for good: it may be what ends them.
So no candidate is lost, none is finished twice, and none ends process after process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from search.storage import TrialRecord, shared_trials
from search.study.ledger import Ledger
from search.study.queue import BASELINE, BEGUN, DEATHS, FATAL, ORIGIN, Queue

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ENDED = "its process ended before it did"


def often(times: int) -> str:
    """Why what ended so many processes is left out."""
    return f"{ENDED}, {times} times: it was killed, or the model or a metric ends the process"


class Recovery:
    """left: Optuna's ids, by number, of the trials that a process which ended left to go on with. fatal: records of
    those under which too many did."""

    def __init__(self, ledger: Ledger, queue: Queue, sampler: str, elsewhere: Callable[[TrialRecord], None]) -> None:
        """elsewhere: told what ended on other machines."""
        self._ledger, self._queue, self._sampler, self._elsewhere = ledger, queue, sampler, elsewhere
        self._storage, self._optuna = ledger.storage, ledger.optuna
        self.left: list[int] = []
        self.fatal: list[TrialRecord] = []

    def look(self) -> None:
        """If the study is shared: take in others' trials, and put right those whose process died."""
        if self._storage.shared:
            self._storage.exclusively(self.put_right)

    def put_right(self) -> None:
        """`look`, for whoever has the lock."""
        self._learn()
        self._reap()

    def coming(self) -> bool:
        """Whether trials are running elsewhere, or may still be ours to run."""
        from optuna.trial import TrialState

        unended = self._optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        coming = any(t.state == TrialState.RUNNING or t.user_attrs.get(ORIGIN) == BASELINE for t in unended)
        self._learn()  # after that look: what runs no more is written down
        return coming or self._ledger.baseline() is not None  # without it nothing can begin

    def _learn(self) -> None:
        """The records of trials that ended on other machines."""
        if not self._storage.shared:
            return
        for trial in self._optuna.get_trials(deepcopy=False):
            if (
                trial.number not in self._ledger.by_number
                and trial.state.is_finished()
                and shared_trials.RECORD in trial.user_attrs
            ):
                self._ledger.write(*shared_trials.unpacked(trial.user_attrs))
                self._elsewhere(self._ledger.by_number[trial.number])

    def forget(self) -> None:
        """Drop the records that the storage does not have: a folder's after a power cut, or a server's of a study that
        was deleted there. The same candidates come again, their scores from the cache.
        """
        for number in self._ledger.by_number.keys() - self._kept():
            self._ledger.folder.forget_trial(number)
            del self._ledger.by_number[number]

    def _kept(self) -> set[int]:
        """The numbers of our records that the storage has too."""
        trials = {trial.number: trial for trial in self._optuna.get_trials(deepcopy=False)}
        if not self._storage.shared:
            return {number for number, trial in trials.items() if self._queue.params(trial) is not None}
        told = {
            number: trials[number].user_attrs.get(shared_trials.RECORD)
            for number in trials.keys() & self._ledger.by_number
        }
        return {
            number
            for number, text in told.items()
            if text and TrialRecord.from_dict(json.loads(text)).candidate == self._ledger.by_number[number].candidate
        }

    def _reap(self) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import Trial

        for number in self._storage.lost(self._optuna):
            trial = self._optuna.get_trials(deepcopy=False)[number]
            with suppress(UpdateFinishedTrialError):  # its process was not dead: the server had been away
                if self._storage.shared and shared_trials.RECORD in trial.user_attrs:
                    self._ledger.write(*shared_trials.unpacked(trial.user_attrs))
                elif self._storage.shared:
                    self._bury(trial)
                elif number not in self._ledger.by_number and trial.user_attrs.get(BEGUN, 0) < FATAL:
                    self.left.append(trial._trial_id)
                elif number not in self._ledger.by_number:
                    self._write_fatal(trial)
                if number in self._ledger.by_number:
                    self._ledger.tell(self._ledger.by_number[number], Trial(self._optuna, trial._trial_id))

    def _bury(self, trial: FrozenTrial) -> None:
        """Queue a dead trial's candidate again, and write the trial down as failed."""
        from optuna.trial import Trial, TrialState

        if (params := self._queue.params(trial)) is None:  # killed while its candidate was being chosen
            self._optuna.tell(trial.number, state=TrialState.FAIL)
            return
        deaths = int(trial.user_attrs.get(DEATHS, 0)) + 1
        if deaths < FATAL:
            self._queue.again(trial.number, params, {**trial.user_attrs, DEATHS: deaths})
            record = self._dead(trial, ENDED)
            self._ledger.write(record)
        else:
            record = self._write_fatal(trial)
        for key, value in shared_trials.packed(record).items():
            Trial(self._optuna, trial._trial_id).set_user_attr(key, value)

    def _write_fatal(self, trial: FrozenTrial) -> TrialRecord:
        """Write down as failed a trial under which processes died again and again."""
        record = self._dead(trial, often(FATAL))
        self._ledger.write(record)
        self.fatal.append(record)
        return record

    def _dead(self, trial: FrozenTrial, reason: str) -> TrialRecord:
        params = self._queue.params(trial)
        assert params is not None  # it was chosen before it was begun
        candidate, origin = self._queue.candidate(trial.user_attrs, params), trial.user_attrs.get(ORIGIN, self._sampler)
        return TrialRecord(
            trial.number, candidate.factors, str(origin), "FAIL", reason=reason, sampling=candidate.sampling
        )
