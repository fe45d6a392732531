"""A trial while it runs: what it has found so far, and the record that it ends as. And who is told of trials."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from freeu import Candidate
from search.evaluation import Evaluation, Task
from search.storage import TrialRecord
from search.study.trials import Asked

if TYPE_CHECKING:
    from search.storage.image_grid import Images


class Watcher(Protocol):
    """Receives what happens in a study, for progress and tracking."""

    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...
    def elsewhere(self, record: TrialRecord) -> None: ...
    def said(self, text: str) -> None: ...


@dataclass
class Running:
    """A trial that this coordinator is running.

    task: the latest one; pieces: of it, by their beginnings, None until they are there. low: its evaluation with few
    steps. rungs, images: the results so far.
    """

    asked: Asked
    began: float = field(default_factory=time.perf_counter)
    task: Task | None = None
    pieces: dict[int, Evaluation | None] = field(default_factory=dict)
    low: Evaluation | None = None
    rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    images: list[Images] = field(default_factory=list)

    def complete(self, found: Evaluation, objectives: Iterable[str], shifts: Mapping[str, float]) -> TrialRecord:
        """Its record. found: all of it, as the trial's result. shifts: the guardrails."""
        candidate = self.asked.candidate
        return TrialRecord(
            self.asked.trial.number,
            candidate.factors,
            self.asked.origin,
            "COMPLETE",
            {name: found.values[name] for name in objectives},
            found.seconds,
            found.n,
            found.unet_evaluations,
            guardrails=dict(shifts),
            rungs=self.rungs,
            peak_memory=found.peak_memory,
            sampling=candidate.sampling,
        )

    def failure(self, reason: str) -> TrialRecord:
        """Its record, as one that found nothing."""
        candidate, seconds = self.asked.candidate, {"total": time.perf_counter() - self.began}
        return TrialRecord(
            self.asked.trial.number,
            candidate.factors,
            self.asked.origin,
            "FAIL",
            seconds=seconds,
            reason=reason,
            sampling=candidate.sampling,
        )
