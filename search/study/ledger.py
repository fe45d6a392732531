"""The ended trials of a study: their records in the folder, and what Optuna is told of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from search.evaluation import Evaluation
from search.optimizer.space import Space
from search.storage import TrialRecord
from search.storage.optuna_storage import Storage
from search.storage.trial_record import IMAGES, SPREADS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from optuna import Study
    from optuna.trial import Trial

    from search.storage.image_grid import Images

CONSTRAINT = "guardrails"


class Ledger:
    """Writes a trial down, then tells it. by_number: the records so far."""

    def __init__(
        self,
        storage: Storage,
        study: Study,
        directions: Mapping[str, str],
        space: Space,
        records: Sequence[TrialRecord],
    ) -> None:
        """directions: objective → "up" or "down". records: those in the folder."""
        self.storage, self.folder, self.optuna = storage, storage.folder, study
        self.directions, self.space = dict(directions), space
        self.by_number: dict[int, TrialRecord] = {record.number: record for record in records}
        self._base: Evaluation | None = None

    def records(self) -> list[TrialRecord]:
        """Every trial that ended, by number."""
        return [self.by_number[number] for number in sorted(self.by_number)]

    def complete(self) -> int:
        """How many trials have values."""
        return sum(record.complete for record in self.by_number.values())

    def baseline(self) -> Evaluation | None:
        """The baseline's evaluation; None until it is complete."""
        if self._base is None:
            record = next((one for one in self.records() if one.complete and one.candidate.baseline), None)
            if record is not None:
                scores, features = self.folder.read_scores(record.number), self.folder.read_features()
                self._base = Evaluation(record.values, record.images, scores, features)
        return self._base

    def write(
        self,
        record: TrialRecord,
        per_image: pd.DataFrame | None = None,
        features: Mapping[str, np.ndarray] | None = None,
        images: Images | None = None,
        *,
        here: bool = False,
    ) -> None:
        """Write a trial down in the folder.

        here: whether this process evaluated it. Others may share the folder, and what they made of it stays.
        """
        if features:
            self.folder.write_features(features)
        if here or not self.storage.shared:
            self.folder.write_trial(record, per_image, images)
        else:
            self.folder.learn_trial(record, per_image)
        self.by_number[record.number] = record

    def tell(self, record: TrialRecord, trial: Trial) -> None:
        """Tell Optuna of a trial that ended, as its record says."""
        from optuna.trial import TrialState

        if record.complete and self.space.holds(record.candidate):
            errors = [record.values[name].paired / math.sqrt(2) for name in self.directions]
            trial.set_user_attr(SPREADS, [error if math.isfinite(error) else None for error in errors])
            trial.set_user_attr(IMAGES, record.images)
            if record.guardrails:
                trial.set_constraint(CONSTRAINT, record.violation)
            self.optuna.tell(trial, [record.values[name].value for name in self.directions])
        else:  # or it would teach the sampler of a point that it is not
            self.optuna.tell(trial, state=TrialState.FAIL)
