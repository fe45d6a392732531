"""Optuna's storage of a study that one process alone writes to: what it knows of a trial it doesn't read again.

Optuna reads a running trial four times from its start to its end, each time with six statements of SQLAlchemy's.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial


class OwnStorage(RDBStorage):
    """Each method as Optuna's. Unfinished trials are kept as they were read, and each write is made to both."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: dict[int, FrozenTrial] = {}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        if trial_id not in self._held:
            found = super().get_trial(trial_id)
            if found.state.is_finished():
                return found
            self._held[trial_id] = found
        return deepcopy(self._held[trial_id])

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        made = super()._create_new_trial(study_id, template_trial)
        if not made.state.is_finished():
            self._held[made._trial_id] = deepcopy(made)
        return made

    def set_trial_state_values(self, trial_id: int, *args: Any, **kwargs: Any) -> bool:
        self._held.pop(trial_id, None)
        return super().set_trial_state_values(trial_id, *args, **kwargs)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._held.pop(trial_id, None)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        super()._set_trial_param(trial_id, param_name, param_value_internal, distribution, previous_distribution)
        if trial_id in self._held:
            self._held[trial_id].params[param_name] = distribution.to_external_repr(param_value_internal)
            self._held[trial_id].distributions[param_name] = distribution

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, value)
        if trial_id in self._held:
            self._held[trial_id].set_user_attr(key, json.loads(json.dumps(value)))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, value)
        if trial_id in self._held:
            self._held[trial_id]._system_attrs[key] = json.loads(json.dumps(value))
