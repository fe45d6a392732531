"""The rungs of a study: which task a trial has next, and whether what it found sends it on to more prompts or ends it.

Rungs are numbers of prompts (`search.settings.rungs`). Whether few steps may stand for the first of them is
search/study/fewer_steps.py's, whether a candidate ranks high enough search/study/racing.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.evaluation import Evaluation, Task
from search.evaluation.evaluator import LOW
from search.storage.trial_record import VIOLATION, violation
from search.study import racing
from search.study.fewer_steps import Draft, Fidelity, cost
from search.study.running import Running
from search.study.trials import Trials

if TYPE_CHECKING:
    import pandas as pd

Shifts = Callable[["pd.DataFrame", "pd.DataFrame", "pd.DataFrame"], dict[str, float]]
"""The guardrails of a candidate: from its per-image scores, the baseline's with as many steps, and the baseline's with
all."""


@dataclass(frozen=True)
class Ended:
    """A trial's result, and its guardrails."""

    found: Evaluation
    shifts: Mapping[str, float]


class Ladder:
    """The rungs of one run of a coordinator."""

    def __init__(
        self,
        trials: Trials,
        directions: Mapping[str, str],
        rungs: Sequence[int],
        whole: Iterable[str],
        shifts: Shifts | None,
        low: Draft | None,
        said: Callable[[str], None],
    ) -> None:
        """directions: objective → "up" or "down". whole: origins of candidates that are evaluated on all prompts at
        once. shifts: the guardrails. low: with what candidates begin, if not with whole images. said: tells a person
        what that turned out to be worth.
        """
        self._trials, self._directions, self._rungs, self._whole = trials, directions, rungs, frozenset(whole)
        self._shifts, self._said = shifts, said
        self._reached: dict[int, racing.Rung] = {}  # by prompts
        self._fidelity: Fidelity | None = None
        if low is not None and len(rungs) > 1:
            self._fidelity = Fidelity(low, rungs[0], list(directions))
            self.measured()

    def task(self, running: Running, before: Evaluation | None) -> Task:
        """A trial's next. before: what it found so far."""
        fidelity = self._fidelity
        whole = running.asked.candidate.baseline or running.asked.origin in self._whole
        first, done = self._rungs[0], before.n if before is not None else 0
        if fidelity is not None and fidelity.wanted and not whole and before is None and running.low is None:
            return Task(running.asked.candidate, first, None, fidelity.base, LOW)
        if fidelity is not None and fidelity.usable and running.low is not None:
            done = max(done, first)  # few steps were its first rung
        end = self._rungs[-1] if whole else next(rung for rung in self._rungs if rung > done)
        return Task(running.asked.candidate, end, before, self._trials.baseline())

    def judged(self, number: int, found: Evaluation, running: Mapping[int, Running]) -> Ended | None:
        """What a rung ends a trial as; None: it goes on. running: all trials that are."""
        one = running[number]
        scores = {name: found.values[name].value for name in self._directions}
        if one.task is not None and one.task.purpose == LOW and self._fidelity is not None:
            return self._judged_low(number, found, scores, running, self._fidelity)
        base = found if one.asked.candidate.baseline else self._trials.baseline()
        shifts = self._shifted(found, base, base)
        one.rungs[found.n] = scores | {VIOLATION: violation(shifts)}
        if found.n < self._rungs[-1] and self._goes_on(number, found.n, running):
            return None
        return Ended(cost(found, one.low), shifts)

    def _judged_low(
        self,
        number: int,
        found: Evaluation,
        scores: dict[str, float],
        running: Mapping[int, Running],
        fidelity: Fidelity,
    ) -> Ended | None:
        """On to all steps, unless few steps are known to rank as all do."""
        one, shifts = running[number], self._shifted(found, fidelity.base, self._trials.baseline())
        one.low = found
        one.rungs[fidelity.rung] = scores | {VIOLATION: violation(shifts)}
        if fidelity.usable and not self._goes_on(number, fidelity.rung, running):
            return Ended(fidelity.expected(found), shifts)
        return None

    def _shifted(self, found: Evaluation, base: Evaluation | None, whole: Evaluation | None) -> dict[str, float]:
        """The guardrails; none where they are off."""
        if self._shifts is None or base is None or whole is None:
            return {}
        if found.per_image is None or base.per_image is None or whole.per_image is None:
            return {}
        return dict(self._shifts(found.per_image, base.per_image, whole.per_image))

    def measured(self) -> None:
        """Measure how well few steps rank, once there are enough candidates, and from then on whether they pay."""
        fidelity, records = self._fidelity, self._trials.records()
        if fidelity is not None and (fidelity.learn(records, self._trials.once) or fidelity.weigh(records)):
            self._said(fidelity.said())

    def _goes_on(self, number: int, n: int, running: Mapping[int, Running]) -> bool:
        """Whether a trial ranks high enough among all that reached this rung."""
        reached = {record.number: record.rungs[n] for record in self._trials.records() if n in record.rungs}
        reached |= {key: each.rungs[n] for key, each in running.items() if n in each.rungs}
        rung = self._reached.setdefault(n, racing.Rung(self._directions))
        rung.hold(reached)
        return rung.goes_on(number)
