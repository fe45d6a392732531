"""The trials of a study: keeps Optuna's trials and the records in the folder in step, whenever a process is killed.

A trial's files are written first, its record last; then it is told. Whatever runs and has lost its process
(`storage.lost`) is put right:
- its record is there: it was evaluated, so its values are told;
- in a folder of one's own the same trial goes on, before all else: a study is the one that its seed gives, however
  often it was killed;
- on a server others went on meanwhile: it is told as failed, and its candidate is queued again, once, to come next.
So no candidate is lost and none is finished twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freeu import Candidate
from search.evaluation.evaluator import Evaluation
from search.optimizer import samplers
from search.optimizer.dimension import Choice
from search.optimizer.space import Space
from search.storage import shared_trials
from search.storage.optuna_storage import Storage, quiet
from search.storage.trial_record import SPREADS, TrialRecord
from search.study.queue import BASELINE, DEATHS, ORIGIN, PLACE, Queue

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from optuna.trial import FrozenTrial, Trial

CONSTRAINT = "guardrails"


@dataclass(frozen=True)
class Asked:
    """A trial that this process began. origin: what proposed its candidate. params: the space's values. attrs:
    Optuna's user attributes.
    """

    trial: Trial
    candidate: Candidate
    origin: str
    params: dict[str, Choice]
    attrs: dict[str, Any]

    @property
    def deaths(self) -> int:
        """How many workers have died while evaluating the candidate."""
        return int(self.attrs.get(DEATHS, 0))


class Trials:
    """Call `ask`, then `ended`, for each trial; `look` now and then if the study is shared. Hold the folder's lock."""

    def __init__(
        self,
        storage: Storage,
        directions: Mapping[str, str],
        *,
        space: Space,
        sampler: str,
        seed: int,
        fixed: Sequence[tuple[str, Candidate]],
        elsewhere: Callable[[TrialRecord], None],
    ) -> None:
        """Creates the study, or puts right what a killed process left. elsewhere: told what ended on other machines.

        The others as `search.study.coordinator.Coordinator` has them.
        """
        self.storage, self.folder, self.directions = storage, storage.folder, dict(directions)
        self.space, self.sampler, self.seed, self.elsewhere = space, sampler, seed, elsewhere
        self._left: list[int] = []  # by a process that ended: Optuna's ids, by number
        self._records: dict[int, TrialRecord] = {record.number: record for record in self.folder.read_trials()}
        self._base: Evaluation | None = None
        with quiet(storage):
            self.optuna = storage.open(directions)
            self._queue = Queue(self.optuna, space, sampler)
            storage.exclusively(lambda: self._put_right(fixed))

    def _put_right(self, fixed: Sequence[tuple[str, Candidate]]) -> None:
        self._forget()
        self._learn()
        self._reap()
        self._queue.fill(fixed, self.seed, self.baseline() is not None)

    def records(self) -> list[TrialRecord]:
        """Every trial that ended, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def complete(self) -> int:
        """How many trials have values."""
        return sum(record.complete for record in self._records.values())

    def baseline(self) -> Evaluation | None:
        """The baseline's evaluation; None until it is complete."""
        if self._base is None:
            record = next((one for one in self.records() if one.complete and one.candidate.baseline), None)
            if record is not None:
                scores, features = self.folder.read_scores(record.number), self.folder.read_features()
                self._base = Evaluation(record.values, record.images, scores, features)
        return self._base

    def agreed(self, key: str, make: Callable[[], Any]) -> Any:
        """The value (JSON types) that all machines of the study share under a key; the first to ask makes it."""
        return self.once(key, make) if self.storage.shared else make()

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What the study has under a key, of JSON's types; made where nothing is kept yet, by whatever process."""
        with quiet(self.storage):
            return self.storage.once(self.optuna, key, make)

    def kept(self, key: str) -> Any:
        """What the study has under a key, of JSON's types; None for nothing."""
        with quiet(self.storage):
            return self.optuna.user_attrs.get(key)

    # To begin a trial

    def ask(self, trials: int, running: int) -> Asked | None:
        """The next candidate; None if `trials` are complete or running, or the baseline is not done yet.

        running: how many of this process's trials are.
        """
        trial = self.storage.exclusively(lambda: self._ask(trials, running))
        if trial is None:
            return None
        params, attrs = self._chosen(trial), trial.user_attrs
        return Asked(trial, self._queue.candidate(attrs, params), str(attrs.get(ORIGIN, self.sampler)), params, attrs)

    def _ask(self, trials: int, running: int) -> Trial | None:
        with self.storage.lock():
            if self._taken(running) >= trials:
                return None
            if self._left:
                return self._begun(self._left.pop(0))
            if self.exhausted():
                return None
            waited = self._queue.take(self.baseline() is not None)
            if waited is None and self.baseline() is None:
                return None
            if waited is None:
                waited = self._queue.off_turn(self.records(), self.directions)
            asked = self._begun(waited)
            self.storage.hold(asked._trial_id)
            return asked

    def _begun(self, trial_id: int | None) -> Trial:
        """The trial of Optuna's id, or a new one, with what the sampler proposes for its place."""
        from optuna.trial import Trial

        place = self._queue.place(trial_id)
        self.optuna.sampler = samplers.build(self.sampler, self.seed, place, self.space)
        trial = self.optuna.ask() if trial_id is None else Trial(self.optuna, trial_id)
        if trial.number != place and self._queue.params(self.optuna._storage.get_trial(trial._trial_id)) is None:
            trial.set_user_attr(PLACE, place)
        return trial

    def _chosen(self, trial: Trial) -> dict[str, Choice]:
        """Its candidate's values. What a process that was killed meanwhile had chosen stands, and is drawn once more
        all the same: what is drawn after it would be another value.
        """
        place = trial.user_attrs.get(PLACE, trial.number)
        self.optuna.sampler = samplers.build(self.sampler, self.seed, place, self.space)
        kept = self.optuna._storage.get_trial(trial._trial_id)
        half = self._queue.params(kept) is None
        for each in self.space.dimensions:
            if half and each.name in kept.params and each.name not in trial.relative_params:
                self.optuna.sampler.sample_independent(self.optuna, kept, each.name, each.distribution)
        return self.space.suggest(trial)

    def exhausted(self) -> bool:
        """Whether nothing is left to try, as when a grid is finished."""
        from optuna.trial import TrialState

        return samplers.exhausted(self.sampler, self.optuna, self.space) and not self.optuna.get_trials(
            deepcopy=False, states=(TrialState.WAITING,)
        )

    def _taken(self, running: int) -> int:
        """How many trials are complete, or running anywhere."""
        if not self.storage.shared:
            return self.complete() + running
        from optuna.trial import TrialState

        begun = self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        outside = sum(record.complete and not self.space.holds(record.candidate) for record in self._records.values())
        return len(begun) + outside

    # To end a trial

    def ended(
        self,
        asked: Asked,
        record: TrialRecord,
        per_image: pd.DataFrame | None = None,
        features: Mapping[str, np.ndarray] | None = None,
        images: torch.Tensor | None = None,
    ) -> bool:
        """Write and tell a trial of this process. Returns False, and does nothing, if others took it for lost.

        per_image, images: as `StudyFolder.write_trial` has them; features: of the baseline alone.
        """
        trial = asked.trial
        if self.storage.shared:
            attrs = shared_trials.packed(record, per_image, features or {})
            mine = self.storage.exclusively(lambda: self._told(trial, record, attrs))
            self.storage.release(trial._trial_id)
            if not mine:
                return False
        self._write(record, per_image, features, images, here=True)
        if not self.storage.shared:
            self._tell(record, trial)
        return True

    def _told(self, trial: Trial, record: TrialRecord, attrs: Mapping[str, str]) -> bool:
        """Tell it where others see it. False where they ended it: before, or just now, since a lease may be lost at any
        instant.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):
            if not self.optuna._storage.get_trial(trial._trial_id).state.is_finished():
                for key, value in attrs.items():
                    trial.set_user_attr(key, value)
                self._tell(record, trial)
                return True
        return False

    def given_back(self, asked: Asked, record: TrialRecord, deaths: int) -> bool:
        """End a trial as failed, as its record says, and queue its candidate again."""

        def given_back() -> bool:
            self._queue.again(record.number, asked.params, {**asked.attrs, DEATHS: deaths})
            return self.ended(asked, record)

        return bool(self.storage.exclusively(given_back))

    def _write(
        self,
        record: TrialRecord,
        per_image: pd.DataFrame | None = None,
        features: Mapping[str, np.ndarray] | None = None,
        images: torch.Tensor | None = None,
        *,
        here: bool = False,
    ) -> None:
        """here: whether this process evaluated it. Others may share the folder, and what they made of it stays."""
        if features:
            self.folder.write_features(features)
        if here or not self.storage.shared:
            self.folder.write_trial(record, per_image, images)
        else:
            self.folder.learn_trial(record, per_image)
        self._records[record.number] = record

    def _tell(self, record: TrialRecord, trial: Trial) -> None:
        from optuna.trial import TrialState

        if record.complete and self.space.holds(record.candidate):
            errors = [record.values[name].paired / math.sqrt(2) for name in self.directions]
            trial.set_user_attr(SPREADS, [error if math.isfinite(error) else None for error in errors])
            if record.guardrails:
                trial.set_constraint(CONSTRAINT, record.violation)
            self.optuna.tell(trial, [record.values[name].value for name in self.directions])
        else:  # or it would teach the sampler of a point that it is not
            self.optuna.tell(trial, state=TrialState.FAIL)

    # What others did, and what the dead left

    def look(self) -> None:
        """If the study is shared: take in others' trials, and put right those whose process died."""
        if self.storage.shared:
            self.storage.exclusively(self._look)

    def _look(self) -> None:
        self._learn()
        self._reap()

    def coming(self) -> bool:
        """Whether trials are running elsewhere, or may still be ours to run."""
        from optuna.trial import TrialState

        unended = self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        coming = any(t.state == TrialState.RUNNING or t.user_attrs.get(ORIGIN) == BASELINE for t in unended)
        self._learn()  # after that look: what runs no more is written down
        return coming or self.baseline() is not None  # without it nothing can begin

    def _learn(self) -> None:
        """The records of trials that ended on other machines."""
        if not self.storage.shared:
            return
        for trial in self.optuna.get_trials(deepcopy=False):
            if (
                trial.number not in self._records
                and trial.state.is_finished()
                and shared_trials.RECORD in trial.user_attrs
            ):
                self._write(*shared_trials.unpacked(trial.user_attrs))
                self.elsewhere(self._records[trial.number])

    def _forget(self) -> None:
        """Drop the records that the storage does not have: a folder's after a power cut, or a server's of a study that
        was deleted there. The same candidates come again, their scores from the cache.
        """
        for number in self._records.keys() - self._kept():
            self.folder.forget_trial(number)
            del self._records[number]

    def _kept(self) -> set[int]:
        """The numbers of our records that the storage has too."""
        trials = {trial.number: trial for trial in self.optuna.get_trials(deepcopy=False)}
        if not self.storage.shared:
            return {number for number, trial in trials.items() if self._queue.params(trial) is not None}
        told = {number: trials[number].user_attrs.get(shared_trials.RECORD) for number in trials.keys() & self._records}
        return {
            number
            for number, text in told.items()
            if text and TrialRecord.from_dict(json.loads(text)).candidate == self._records[number].candidate
        }

    def _reap(self) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import Trial

        for number in self.storage.lost(self.optuna):
            trial = self.optuna.get_trials(deepcopy=False)[number]
            with suppress(UpdateFinishedTrialError):  # its process was not dead: the server had been away
                if self.storage.shared and shared_trials.RECORD in trial.user_attrs:
                    self._write(*shared_trials.unpacked(trial.user_attrs))
                elif self.storage.shared:
                    self._bury(trial)
                elif number not in self._records:
                    self._left.append(trial._trial_id)
                if number in self._records:
                    self._tell(self._records[number], Trial(self.optuna, trial._trial_id))

    def _bury(self, trial: FrozenTrial) -> None:
        """Queue a dead trial's candidate again, and write the trial down as failed."""
        from optuna.trial import Trial, TrialState

        if (params := self._queue.params(trial)) is not None:
            self._queue.again(trial.number, params, trial.user_attrs)
            origin = str(trial.user_attrs.get(ORIGIN, self.sampler))
            candidate, reason = self._queue.candidate(trial.user_attrs, params), "its process ended before it did"
            record = TrialRecord(
                trial.number, candidate.factors, origin, "FAIL", reason=reason, sampling=candidate.sampling
            )
            for key, value in shared_trials.packed(record).items():
                Trial(self.optuna, trial._trial_id).set_user_attr(key, value)
            self._write(record)
        else:  # killed while its candidate was being chosen
            self.optuna.tell(trial.number, state=TrialState.FAIL)
