"""The coordinator of a study: it has candidates evaluated, rung by rung, and judges them. Safe to kill at any instant.

A trial goes: ask → evaluate → write its files → tell → track. search/study/trials.py asks, writes and tells; a `Crew`
evaluates. This file knows no model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from configs import UserError
from freeu import Candidate
from search.evaluation import Evaluation, Task
from search.evaluation.evaluator import LOW
from search.optimizer.space import Space
from search.settings import rungs
from search.storage import TrialRecord
from search.storage.optuna_storage import Storage, quiet
from search.storage.trial_record import INTERRUPTED, VIOLATION, violation
from search.study import racing
from search.study.fewer_steps import Fidelity, cost
from search.study.queue import FATAL
from search.study.trials import Asked, Trials
from search.workers import Crew, Evaluate, WorkerDied

if TYPE_CHECKING:
    import pandas as pd

    from search.storage.image_grid import Images

PATIENCE = 3  # failures in a row
POLL = 1.0  # seconds between two looks at what others do


class Watcher(Protocol):
    """Receives what happens in a study, for progress and tracking."""

    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...
    def elsewhere(self, record: TrialRecord) -> None: ...
    def said(self, text: str) -> None: ...


Shifts = Callable[["pd.DataFrame", "pd.DataFrame", "pd.DataFrame"], dict[str, float]]
"""The guardrails of a candidate: from its per-image scores, the baseline's with as many steps, and the baseline's with
all."""


@dataclass
class Running:
    """A trial that this coordinator is running.

    task: the latest one. low: its evaluation with few steps. rungs, images: the results so far.
    """

    asked: Asked
    began: float = field(default_factory=time.perf_counter)
    task: Task | None = None
    low: Evaluation | None = None
    rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    images: list[Images] = field(default_factory=list)


class Coordinator:
    """One study. Opening it creates it, or puts right what a killed process left. Hold the folder's lock."""

    def __init__(
        self,
        storage: Storage,
        directions: Mapping[str, str],
        *,
        prompts: int,
        space: Space,
        sampler: str,
        seed: int,
        fixed: Sequence[tuple[str, Candidate]],
        watcher: Watcher,
        race: bool = False,
    ) -> None:
        """directions: objective → "up" or "down". prompts: number in a whole evaluation. fixed: (origin, candidate) of
        the first candidates, the baseline first; they are evaluated on all prompts, but for the baseline under other
        sampling settings. Text after a colon in an
        origin only tells candidates of one origin apart.
        """
        self.storage, self.directions = storage, dict(directions)
        self.rungs = rungs.rungs(prompts) if race else (prompts,)
        self.watcher = watcher
        self._shifts: Shifts | None = None
        self._fidelity: Fidelity | None = None
        self._whole = {origin.partition(":")[0] for origin, each in fixed if each.baseline or not each.off}
        self._running: dict[int, Running] = {}
        self._reached: dict[int, racing.Rung] = {}  # by prompts
        self._ready: list[tuple[int, Evaluation | None]] = []  # for whoever is free next
        self.trials = Trials(
            storage, directions, space=space, sampler=sampler, seed=seed, fixed=fixed, elsewhere=watcher.elsewhere
        )
        self.records, self.complete, self.agreed = self.trials.records, self.trials.complete, self.trials.agreed

    def run(
        self,
        crew: Crew,
        trials: int,
        go_on: Callable[[Sequence[TrialRecord], int], bool] = lambda records, running: True,
        shifts: Shifts | None = None,
        low: Evaluation | None = None,
    ) -> None:
        """Run until `trials` are complete, or go_on(records so far, trials running) returns False; it is asked before
        each trial. shifts: the guardrails. low: the baseline with few steps on all prompts, if candidates begin
        with few steps; see search/study/fewer_steps.py.

        Raises:
            UserError: three trials in a row failed, or the baseline did; says why.
            KeyboardInterrupt: the trials in flight go on with the next run; on a server their candidates are queued
                again, for whoever is there.
        """
        self._failures, self._shifts = 0, shifts
        if low is not None and len(self.rungs) > 1:
            self._fidelity = Fidelity(low, self.rungs[0], list(self.directions))
            self._measured()
        with quiet(self.storage):
            try:
                while True:
                    self._told_fatal()
                    wanted = go_on(self.records(), len(self._running))
                    while crew.free and (self._ready or (wanted and self._begin(trials))):
                        number, before = self._ready.pop(0)
                        crew.submit(number, self._job(number, before))
                        wanted = wanted and go_on(self.records(), len(self._running))
                    idle = not self._running and bool(crew.free)  # else workers are at work, or still coming
                    if idle and not (wanted and self._others(trials)):
                        if wanted and self.complete() < trials and self.trials.exhausted():
                            self.watcher.said(f"the search ends: {self.trials.sampler} has nothing left to try")
                        return
                    self._wait(crew, idle)
            except (KeyboardInterrupt, Failing):
                with self.storage.ending():
                    self._interrupted()
                raise
            except Exception:  # as a full disk: no candidate's doing
                if not self.storage.shared:
                    self._interrupted()
                raise

    def _wait(self, crew: Crew, idle: bool) -> None:
        """Until something of ours ended; where the study is shared, no longer than a look at the others takes."""
        if idle:
            time.sleep(POLL)
        else:
            for number, found in crew.wait(POLL if self.storage.shared else None):
                self._took(number, found)
        self.trials.look()

    def _others(self, trials: int) -> bool:
        """Whether what is needed is in others' hands, or may come to be in ours."""
        return self.storage.shared and self.complete() < trials and self.trials.coming()

    # To begin a trial

    def _begin(self, trials: int) -> bool:
        """Ask for a candidate. False if enough are complete or running, or the baseline is not done yet."""
        asked = self.trials.ask(trials, len(self._running))
        if asked is None:
            return False
        self._running[asked.trial.number] = Running(asked)
        self._ready.append((asked.trial.number, None))
        return True

    def _job(self, number: int, before: Evaluation | None) -> Evaluate:
        running, fidelity = self._running[number], self._fidelity
        whole = running.asked.candidate.baseline or running.asked.origin in self._whole
        first, done = self.rungs[0], before.n if before is not None else 0
        if fidelity is not None and fidelity.wanted and not whole and before is None and running.low is None:
            running.task = Task(running.asked.candidate, first, None, fidelity.base, LOW)
        else:
            if fidelity is not None and fidelity.usable and running.low is not None:
                done = max(done, first)  # few steps were its first rung
            end = self.rungs[-1] if whole else next(rung for rung in self.rungs if rung > done)
            running.task = Task(running.asked.candidate, end, before, self.trials.baseline())
        self.watcher.began(number, running.asked.origin, running.asked.candidate, running.task.end - running.task.begin)
        return Evaluate(running.task)

    # After a rung

    def _took(self, number: int, found: Any) -> None:
        if isinstance(found, WorkerDied):
            self._given_back(number, str(found))
        elif isinstance(found, Exception):
            reason = " ".join(str(found).split()) or "no message"
            self._failed(number, reason if isinstance(found, UserError) else f"{type(found).__name__}: {reason}")
        else:
            self._judge(number, found)

    def _judge(self, number: int, found: Evaluation) -> None:
        """Send a trial on to the next rung, or end it."""
        running, scores = self._running[number], {name: found.values[name].value for name in self.directions}
        if broken := [f"{name} is {value}" for name, value in scores.items() if not math.isfinite(value)]:
            self._failed(number, ", ".join(broken))
            return
        low = running.task is not None and running.task.purpose == LOW
        if low and self._fidelity is not None:
            self._judge_low(number, found, scores, self._fidelity)
            return
        if found.images is not None:
            running.images.append(found.images)
        base = found if running.asked.candidate.baseline else self.trials.baseline()
        shifts = self._shifted(found, base, base)
        running.rungs[found.n] = scores | {VIOLATION: violation(shifts)}
        if found.n < self.rungs[-1] and self._goes_on(number, found.n):
            self._ready.append((number, found))
        else:
            self._ended(number, cost(found, running.low), shifts)

    def _judge_low(self, number: int, found: Evaluation, scores: dict[str, float], fidelity: Fidelity) -> None:
        """Send a trial on to all steps, or end it if few steps are known to rank as all do."""
        running, shifts = self._running[number], self._shifted(found, fidelity.base, self.trials.baseline())
        running.low = found
        running.rungs[fidelity.rung] = scores | {VIOLATION: violation(shifts)}
        if fidelity.usable and not self._goes_on(number, fidelity.rung):
            self._ended(number, fidelity.expected(found), shifts)
        else:
            self._ready.append((number, None))

    def _shifted(self, found: Evaluation, base: Evaluation | None, whole: Evaluation | None) -> dict[str, float]:
        """The guardrails; none where they are off."""
        if self._shifts is None or base is None or whole is None:
            return {}
        if found.per_image is None or base.per_image is None or whole.per_image is None:
            return {}
        return dict(self._shifts(found.per_image, base.per_image, whole.per_image))

    def _measured(self) -> None:
        """Measure how well few steps rank, once there are enough candidates."""
        if self._fidelity is not None and self._fidelity.learn(self.records(), self.trials.once):
            self.watcher.said(self._fidelity.said())

    def _goes_on(self, number: int, n: int) -> bool:
        """Whether a trial ranks high enough among all that reached this rung."""
        reached = {record.number: record.rungs[n] for record in self.records() if n in record.rungs}
        reached |= {key: each.rungs[n] for key, each in self._running.items() if n in each.rungs}
        rung = self._reached.setdefault(n, racing.Rung(self.directions))
        rung.hold(reached)
        return rung.goes_on(number)

    # To end a trial

    def _ended(self, number: int, found: Evaluation, shifts: Mapping[str, float]) -> None:
        running = self._running[number]
        record = TrialRecord(
            number,
            running.asked.candidate.factors,
            running.asked.origin,
            "COMPLETE",
            {name: found.values[name] for name in self.directions},
            found.seconds,
            found.n,
            found.unet_evaluations,
            guardrails=dict(shifts),
            rungs=running.rungs,
            peak_memory=found.peak_memory,
            sampling=running.asked.candidate.sampling,
        )
        self._failures = 0
        self._kept(record, found, running.images)
        self._measured()

    def _failed(self, number: int, reason: str) -> None:
        running = self._running[number]
        self._kept(self._failure(number, running, reason))
        self._failures += 1
        if running.asked.candidate.baseline:
            raise Failing(f"the baseline failed, and all candidates are compared with it: {reason}")
        if self._failures == PATIENCE:
            raise Failing(f"{PATIENCE} trials in a row failed, the last one with: {reason}")

    def _given_back(self, number: int, reason: str) -> None:
        """Tell a trial as failed, and queue its candidate again."""
        running = self._running[number]
        deaths = running.asked.deaths + (reason != INTERRUPTED)
        if deaths == FATAL:
            self._failed(number, f"{reason}, {deaths} times")
            return
        del self._running[number]
        record = self._failure(number, running, reason)
        if self.trials.given_back(running.asked, record, deaths):
            self.watcher.ended(record)

    def _interrupted(self) -> None:
        """Leave the trials in flight to the next run, or to others."""
        for number in tuple(self._running):
            if self.storage.shared:
                self._given_back(number, INTERRUPTED)
            else:
                self.trials.interrupted(self._running.pop(number).asked)

    def _told_fatal(self) -> None:
        """Say which candidates ended process after process. Raises Failing where the baseline did."""
        for record in self.trials.fatal():
            self.watcher.said(f"trial {record.number} counts as failed: {record.reason}")
            if record.candidate.baseline:
                raise Failing(f"the baseline failed, and all candidates are compared with it: {record.reason}")

    def _failure(self, number: int, running: Running, reason: str) -> TrialRecord:
        seconds = {"total": time.perf_counter() - running.began}
        asked = running.asked
        return TrialRecord(
            number,
            asked.candidate.factors,
            asked.origin,
            "FAIL",
            seconds=seconds,
            reason=reason,
            sampling=asked.candidate.sampling,
        )

    def _kept(self, record: TrialRecord, found: Evaluation | None = None, images: Sequence[Images] = ()) -> None:
        """Write a trial of ours down and tell it; drop it where others have taken it for lost meanwhile."""
        from search.storage.image_grid import together

        asked = self._running[record.number].asked
        if self.storage.shared:  # from here on it may be told, and is not to be given back
            del self._running[record.number]
        if sum(len(part) for part in images) != record.images:
            images = ()  # the others' scores were known: a grid of some would pass for one of all
        per_image = found.per_image if found is not None else None
        features = found.features if found is not None and record.candidate.baseline else None
        drawn = together([each for part in images for each in part]) if images else None
        ended = self.trials.ended(asked, record, per_image, features, drawn)
        self._running.pop(record.number, None)
        if ended:
            self.watcher.ended(record)


class Failing(UserError):
    """Trials fail for a reason that will fail the next ones, too."""
