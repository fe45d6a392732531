"""The box in which a study tells its hypervolume: the one definition of history, plots and `--patience`.

It spans the worst and the best of each objective among the first 10 candidates, so that no later one changes what was
said. Its worst corner is the reference point. Tuned baselines are no candidates: they neither span it nor fill it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.optimizer.pareto_front import of_factors
from search.storage import TrialRecord

FIRST = 10
"""Candidates that span the box."""


@dataclass(frozen=True)
class Box:
    """low, span: (objectives,), all objectives maximised."""

    low: np.ndarray
    span: np.ndarray

    @classmethod
    def of(cls, done: Sequence[TrialRecord], directions: Mapping[str, str]) -> Box:
        """done: the complete trials of a study, in their order; at least one is of factors."""
        table = upwards(of_factors(done)[:FIRST], directions)
        return cls(table.min(0), np.ptp(table, axis=0))

    def scaled(self, table: np.ndarray) -> np.ndarray:
        """(n, objectives), all maximised, in units of the box: the reference point is 0, the best corner 1. An
        objective without span is 1."""
        return np.where(self.span > 0, (table - self.low) / np.where(self.span > 0, self.span, 1), 1.0)


def upwards(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> np.ndarray:
    """(n, objectives) values, all maximised."""
    table = np.array([[record.values[name].value for name in directions] for record in records])
    return table * [1 if way == "up" else -1 for way in directions.values()]
