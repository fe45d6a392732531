"""Optuna's storage for a study with a single writer: it reads nothing twice.

Optuna's own reads a trial again and again from its start to its end, and writes it row by row through SQLAlchemy's
object mapper: 37 statements for a trial with four factors and two objectives. Here everything read or written is also
kept in memory, which leaves eight statements that write. The database holds the same rows.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Container, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import bindparam, insert, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import DeclarativeBase

TO_END = update(models.TrialModel).where(models.TrialModel.trial_id == bindparam("trial"))


class SingleWriterStorage(RDBStorage):
    """Each method as Optuna's; what is seldom done is left to it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: dict[int, FrozenTrial] = {}
        self._of: dict[int, list[int]] = {}  # study → its trials' ids, rising

    # To read

    def get_trial(self, trial_id: int) -> FrozenTrial:
        held = self._held.get(trial_id)
        return super().get_trial(trial_id) if held is None else deepcopy(held)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        ids = self._ids(study_id)
        earlier = sorted(each for each in included_trial_ids if each <= trial_id_greater_than)
        found = [self._held[each] for each in (*earlier, *ids[bisect_right(ids, trial_id_greater_than) :])]
        # What is unfinished would change under the reader's hands.
        return [t if t.state.is_finished() else deepcopy(t) for t in found if states is None or t.state in states]

    def _ids(self, study_id: int) -> list[int]:
        if study_id not in self._of:
            trials = super()._get_trials(study_id, None, set(), -1)
            self._held |= {trial._trial_id: trial for trial in trials}
            self._of[study_id] = [trial._trial_id for trial in trials]
        return self._of[study_id]

    def delete_study(self, study_id: int) -> None:
        for trial_id in self._of.pop(study_id, []):
            del self._held[trial_id]
        super().delete_study(study_id)

    # To write

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        ids = self._ids(study_id)
        if template_trial is not None:
            made = super()._create_new_trial(study_id, template_trial)
        else:
            made = create_trial(state=TrialState.RUNNING)
            made.number, made.datetime_start = len(ids), datetime.now()
            row = {"number": made.number, "state": made.state, "datetime_start": _utc(made.datetime_start)}
            with self.engine.begin() as connection:
                made._trial_id = connection.execute(insert(models.TrialModel), row | {"study_id": study_id}).lastrowid
        ids.append(made._trial_id)
        self._held[made._trial_id] = deepcopy(made)
        return made

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        held = self._held.get(trial_id)
        if held is None or held.state != TrialState.RUNNING or held.values is not None or not state.is_finished():
            done = super().set_trial_state_values(trial_id, state, values)
            self._read_again(trial_id)
            return done
        now, rows = datetime.now(), []
        for objective, value in enumerate(values or ()):
            kept, kind = models.TrialValueModel.value_to_stored_repr(value)
            rows.append({"trial_id": trial_id, "objective": objective, "value": kept, "value_type": kind})
        with self.engine.begin() as connection:
            if rows:
                connection.execute(insert(models.TrialValueModel), rows)
            connection.execute(TO_END, {"trial": trial_id, "state": state, "datetime_complete": _utc(now)})
        held.values, held.datetime_complete, held.state = list(values) if values else None, now, state
        return True

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        held = self._held.get(trial_id)
        if previous_distribution is None or held is None or held.state.is_finished() or param_name in held.params:
            super()._set_trial_param(trial_id, param_name, param_value_internal, distribution, previous_distribution)
            self._read_again(trial_id)
            return
        check_distribution_compatibility(previous_distribution, distribution)
        row = {"trial_id": trial_id, "param_name": param_name, "param_value": param_value_internal}
        row |= {"distribution_json": distribution_to_json(distribution)}
        with self.engine.begin() as connection:
            connection.execute(insert(models.TrialParamModel), row)
        held.params[param_name] = distribution.to_external_repr(param_value_internal)
        held.distributions[param_name] = distribution

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._read_again(trial_id)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if self._attribute(models.TrialUserAttributeModel, trial_id, key, value):
            self._held[trial_id].set_user_attr(key, json.loads(json.dumps(value)))
        else:
            super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if self._attribute(models.TrialSystemAttributeModel, trial_id, key, value):
            self._held[trial_id]._system_attrs[key] = json.loads(json.dumps(value))
        else:
            super().set_trial_system_attr(trial_id, key, value)

    def _attribute(self, model: type[DeclarativeBase], trial_id: int, key: str, value: Any) -> bool:
        """Write one. False, and nothing, where Optuna is to do it, or to refuse."""
        if trial_id not in self._held or self._held[trial_id].state.is_finished():
            return False
        told = sqlite.insert(model)
        told = told.on_conflict_do_update(["trial_id", "key"], set_={"value_json": told.excluded.value_json})
        with self.engine.begin() as connection:
            connection.execute(told, {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)})
        return True

    def _read_again(self, trial_id: int) -> None:
        if trial_id in self._held:
            self._held[trial_id] = super().get_trial(trial_id)


def _utc(now: datetime) -> datetime:
    """As Optuna's tables have it."""
    return now.astimezone(UTC).replace(tzinfo=None)
