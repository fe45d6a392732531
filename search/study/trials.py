"""The trials of a study: keeps Optuna's trials and the records in the folder in step, whenever a process is killed.

A trial's files are written first, its record last; then it is told (search/study/ledger.py). What a killed process
left is put right by search/study/recovery.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freeu import Candidate
from search.optimizer import samplers
from search.optimizer.dimension import Choice
from search.optimizer.space import Space
from search.storage import TrialRecord, shared_trials
from search.storage.optuna_storage import Storage
from search.storage.quiet import quiet
from search.study.ledger import Ledger
from search.study.queue import BEGUN, DEATHS, ORIGIN, PLACE, Queue
from search.study.recovery import Recovery

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from optuna.trial import Trial

    from search.storage.image_grid import Images


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
        self.storage, self.space, self.sampler, self.seed = storage, space, sampler, seed
        records = storage.folder.read_trials()
        with quiet(storage):
            self.optuna = storage.open(directions)
            self._queue = Queue(self.optuna, space, sampler)
            self._ledger = Ledger(storage, self.optuna, directions, space, records)
            self._recovery = Recovery(self._ledger, self._queue, sampler, elsewhere)
            self.records, self.complete = self._ledger.records, self._ledger.complete
            self.baseline, self.look, self.coming = self._ledger.baseline, self._recovery.look, self._recovery.coming
            storage.exclusively(lambda: self._put_right(fixed))

    def _put_right(self, fixed: Sequence[tuple[str, Candidate]]) -> None:
        self._recovery.forget()
        self._recovery.put_right()
        self._queue.fill(fixed, self.seed, self.baseline() is not None)

    def agreed(self, key: str, make: Callable[[], Any], meanwhile: Callable[[], bool] = lambda: False) -> Any:
        """The value (JSON types) that all machines of the study share under a key; the first to ask makes it.
        meanwhile: done by those that wait for it; False where there is nothing to do."""
        return self.once(key, make, meanwhile) if self.storage.shared else make()

    def once(self, key: str, make: Callable[[], Any], meanwhile: Callable[[], bool] = lambda: False) -> Any:
        """What the study has under a key, of JSON's types; made where nothing is kept yet, by whatever process."""
        with quiet(self.storage):
            return self.storage.once(self.optuna, key, make, meanwhile)

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
        if not self.storage.shared:
            trial.set_user_attr(BEGUN, int(attrs.get(BEGUN, 0)) + 1)
        return Asked(trial, self._queue.candidate(attrs, params), str(attrs.get(ORIGIN, self.sampler)), params, attrs)

    def _ask(self, trials: int, running: int) -> Trial | None:
        with self.storage.lock():
            if self._taken(running) >= trials:
                return None
            if self._recovery.left:
                return self._begun(self._recovery.left.pop(0))
            if self.exhausted():
                return None
            waited = self._queue.take(self.baseline() is not None)
            if waited is None and self.baseline() is None:
                return None
            if waited is None:
                waited = self._queue.off_turn(self.records(), self._ledger.directions)
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
        outside = sum(
            record.complete and not self.space.holds(record.candidate) for record in self._ledger.by_number.values()
        )
        return len(begun) + outside

    # To end a trial

    def ended(
        self,
        asked: Asked,
        record: TrialRecord,
        per_image: pd.DataFrame | None = None,
        features: Mapping[str, np.ndarray] | None = None,
        images: Images | None = None,
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
        self._ledger.write(record, per_image, features, images, here=True)
        if not self.storage.shared:
            self._ledger.tell(record, trial)
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
                self._ledger.tell(record, trial)
                return True
        return False

    def interrupted(self, asked: Asked) -> None:
        """Leave a trial to the next start, where its process ends on purpose, or for no fault of the candidate's."""
        with suppress(Exception):  # where that can't be noted, as on a full disk, it counts as a death
            asked.trial.set_user_attr(BEGUN, int(asked.attrs.get(BEGUN, 0)))

    def fatal(self) -> list[TrialRecord]:
        """The trials that were found to end process after process, since the last call."""
        found, self._recovery.fatal = self._recovery.fatal, []
        return found

    def given_back(self, asked: Asked, record: TrialRecord, deaths: int) -> bool:
        """End a trial as failed, as its record says, and queue its candidate again."""

        def given_back() -> bool:
            self._queue.again(record.number, asked.params, {**asked.attrs, DEATHS: deaths})
            return self.ended(asked, record)

        return bool(self.storage.exclusively(given_back))
