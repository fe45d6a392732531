"""Ask, evaluate, record, tell: the coordinator of a study. Survives being killed at any instant.

A trial goes: ask → evaluate, rung by rung → write its files, the record last → tell → track. Whatever runs and has lost
its process (`storage.lost`) is put right:
- its record is there: it was evaluated, so its values are told;
- it has its candidate: the candidate is queued again, once, and the trial is told as failed;
- it was killed while the candidate was being chosen: the same trial goes on, or is told as failed where others may
  have gone on meanwhile.
So no candidate is lost and none is finished twice. Who evaluates is a `Crew`: this file knows no model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from configs import UserError
from freeu import Factors
from search import racing, samplers, shared
from search.crew import Crew, Evaluate, WorkerDied
from search.evaluate import Evaluation, Task
from search.fidelity import LOW, Fidelity, cost
from search.records import SPREADS, VIOLATION, TrialRecord, violation
from search.space import SOBOL, Choice, Space
from search.storage import Storage, quiet

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from optuna.trial import FrozenTrial, Trial

PATIENCE = 3  # failures in a row; deaths of workers under one candidate
CONSTRAINT = "guardrails"
OUTSIDE = "outside"  # the factors of a fixed candidate that the space does not hold, as no FreeU in a narrow one
NO_FREEU = "no FreeU"  # an origin
RETRY, SLOT, ORIGIN = "retry_of", "slot", "origin"
DEATHS = "deaths"  # of the workers that had a candidate in their hands
POLL = 1.0  # seconds between two looks at what others do


class Watcher(Protocol):
    """Told what happens, for progress and tracking."""

    def began(self, number: int, origin: str, factors: Factors, images: int) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...
    def elsewhere(self, record: TrialRecord) -> None: ...
    def said(self, text: str) -> None: ...


Shifts = Callable[["pd.DataFrame", "pd.DataFrame"], dict[str, float]]
"""The guardrails of a candidate: from its per-image scores and no FreeU's."""


@dataclass
class Running:
    """A trial in this coordinator's hands. task: its last one. low: what it got with few steps. rungs and images: of
    what it was evaluated on so far.
    """

    trial: Trial
    factors: Factors
    origin: str
    params: dict[str, Choice]
    attrs: dict[str, Any]
    began: float = field(default_factory=time.perf_counter)
    task: Task | None = None
    low: Evaluation | None = None
    rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    images: list[torch.Tensor] = field(default_factory=list)


class Study:
    """One study. Opening it creates it, or reaps what a killed process left. Hold the folder's lock."""

    def __init__(
        self,
        storage: Storage,
        directions: Mapping[str, str],
        *,
        prompts: int,
        space: Space,
        sampler: str,
        seed: int,
        fixed: Sequence[tuple[str, Factors]],
        watcher: Watcher,
        race: bool = False,
    ) -> None:
        """directions: objective → "up" or "down". prompts: of a whole evaluation. fixed: the first candidates, no FreeU
        before all, each with its origin; what stands behind a colon there tells those of one origin apart; they are
        evaluated whole.
        """
        self.storage, self.folder, self.directions = storage, storage.folder, dict(directions)
        self.space, self.sampler, self.seed = space, sampler, seed
        self.rungs = racing.rungs(prompts) if race else (prompts,)
        self.watcher = watcher
        self._shifts: Shifts | None = None
        self._fidelity: Fidelity | None = None
        self._whole = {origin.partition(":")[0] for origin, _ in fixed}
        self._running: dict[int, Running] = {}
        self._half_chosen: list[int] = []  # Optuna's ids
        self._ready: list[tuple[int, Evaluation | None]] = []  # for whoever is free next
        self._records: dict[int, TrialRecord] = {record.number: record for record in self.folder.read_trials()}
        self._base: Evaluation | None = None
        with quiet(storage):
            self._study = storage.open(directions)
            with storage.lock():
                self._learn()
                self._forget()
                self._reap()
                self._queue(fixed)

    def records(self) -> list[TrialRecord]:
        """Every trial that ended, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def complete(self) -> int:
        """How many trials have values."""
        return sum(record.complete for record in self._records.values())

    def run(
        self,
        crew: Crew,
        trials: int,
        go_on: Callable[[Sequence[TrialRecord]], bool] = lambda records: True,
        shifts: Shifts | None = None,
        low: Evaluation | None = None,
    ) -> None:
        """Run until `trials` are complete, or until go_on(records so far) says no. shifts: the guardrails. low: what no
        FreeU gets with few steps on all prompts, where candidates are to begin with few; see search/fidelity.py.

        Raises:
            UserError: three trials in a row failed, or no FreeU did; says why.
            KeyboardInterrupt: the trials in flight are told as failed, and their candidates are queued again.
        """
        self._failures, self._shifts = 0, shifts
        if low is not None and len(self.rungs) > 1:
            self._fidelity = Fidelity(low, self.rungs[0], list(self.directions))
            self._measured()
        with quiet(self.storage):
            try:
                while True:
                    wanted = go_on(self.records())
                    while crew.free and (self._ready or (wanted and self._begin(trials))):
                        number, before = self._ready.pop(0)
                        crew.submit(number, self._job(number, before))
                    idle = not self._running and bool(crew.free)  # else workers are at work, or still coming
                    if idle and not (wanted and self._others(trials)):
                        return
                    self._wait(crew, idle)
            except (KeyboardInterrupt, Failing):
                for number in tuple(self._running):
                    self._given_back(number, "interrupted")
                raise

    def agreed(self, key: str, make: Callable[[], Any]) -> Any:
        """What all machines of the study have under a key, of JSON's types; made by the first that asks."""
        if not self.storage.shared:
            return make()
        with quiet(self.storage), self.storage.lock(key):
            kept = self._study.user_attrs.get(key)
            if kept is None:
                kept = make()
                self._study.set_user_attr(key, kept)
            return kept

    def _wait(self, crew: Crew, idle: bool) -> None:
        """Until something of ours ended; where the study is shared, no longer than a look at the others takes."""
        if idle:
            time.sleep(POLL)
        else:
            for number, found in crew.wait(POLL if self.storage.shared else None):
                self._took(number, found)
        if self.storage.shared:
            with self.storage.lock():
                self._learn()
                self._reap()

    def _others(self, trials: int) -> bool:
        """Whether what is needed is in others' hands, or may come to be in ours."""
        from optuna.trial import TrialState

        if not self.storage.shared or self.complete() >= trials:
            return False
        unended = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        coming = any(t.state == TrialState.RUNNING or t.user_attrs.get(ORIGIN) == NO_FREEU for t in unended)
        self._learn()  # after that look: what runs no more is written down
        return coming or self._no_freeu() is not None  # without it nothing can begin

    # To begin a trial

    def _begin(self, trials: int) -> bool:
        """Ask for a candidate. False where enough are complete or running, or no FreeU is still awaited."""
        trial = self._ask(trials)
        if trial is None:
            return False
        self._study.sampler = samplers.build(self.sampler, self.seed, trial.number, self.space)
        params, attrs = self.space.suggest(trial), trial.user_attrs
        running = Running(trial, self._factors(attrs, params), str(attrs.get(ORIGIN, self.sampler)), params, attrs)
        self._running[trial.number] = running
        self._ready.append((trial.number, None))
        return True

    def _ask(self, trials: int) -> Trial | None:
        from optuna.trial import Trial

        with self.storage.lock():
            if self._taken() >= trials:
                return None
            if self._half_chosen:
                return Trial(self._study, self._half_chosen.pop())
            number = len(self._records) + len(self._running)
            self._study.sampler = samplers.build(self.sampler, self.seed, number, self.space)
            asked = self._study.ask() if self._no_freeu() is not None else self._no_freeu_of()
            if asked is None:
                return None
            self.storage.hold(asked._trial_id)
            return asked

    def _taken(self) -> int:
        """How many trials are complete, or running anywhere."""
        if not self.storage.shared:
            return self.complete() + len(self._running)
        from optuna.trial import TrialState

        begun = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.COMPLETE))
        outside = sum(record.complete and not self.space.holds(record.factors) for record in self._records.values())
        return len(begun) + outside

    def _no_freeu_of(self) -> Trial | None:
        """All others are compared with it, so it goes first, also where it failed before and stands behind them."""
        from optuna.trial import Trial, TrialState

        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if trial.user_attrs.get(ORIGIN) == NO_FREEU:
                self._study._storage.set_trial_state_values(trial._trial_id, state=TrialState.RUNNING)
                return Trial(self._study, trial._trial_id)
        return None

    def _job(self, number: int, before: Evaluation | None) -> Evaluate:
        running, fidelity = self._running[number], self._fidelity
        whole = running.factors.identity or running.origin in self._whole
        first, done = self.rungs[0], before.n if before is not None else 0
        if fidelity is not None and fidelity.wanted and not whole and before is None and running.low is None:
            running.task = Task(running.factors, first, None, fidelity.base, LOW)
        else:
            if fidelity is not None and fidelity.usable and running.low is not None:
                done = max(done, first)  # few steps were its first rung
            end = self.rungs[-1] if whole else next(rung for rung in self.rungs if rung > done)
            running.task = Task(running.factors, end, before, self._no_freeu())
        self.watcher.began(number, running.origin, running.factors, running.task.end - running.task.begin)
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
        """On to the next rung, or to the end."""
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
        shifts = self._shifted(found, found if running.factors.identity else self._no_freeu())
        running.rungs[found.n] = scores | {VIOLATION: violation(shifts)}
        if found.n < self.rungs[-1] and self._goes_on(number, found.n):
            self._ready.append((number, found))
        else:
            self._ended(number, cost(found, running.low), shifts)

    def _judge_low(self, number: int, found: Evaluation, scores: dict[str, float], fidelity: Fidelity) -> None:
        """On with all steps, or to the end, where few steps are known to tell."""
        running, shifts = self._running[number], self._shifted(found, fidelity.base)
        running.low = found
        running.rungs[fidelity.rung] = scores | {VIOLATION: violation(shifts)}
        if fidelity.usable and not self._goes_on(number, fidelity.rung):
            self._ended(number, fidelity.expected(found), shifts)
        else:
            self._ready.append((number, None))

    def _shifted(self, found: Evaluation, base: Evaluation | None) -> dict[str, float]:
        """The guardrails; none where they are off."""
        if self._shifts is None or base is None or base.per_image is None or found.per_image is None:
            return {}
        return dict(self._shifts(found.per_image, base.per_image))

    def _measured(self) -> None:
        """Learn what few steps tell, once there are candidates enough."""
        if self._fidelity is not None and self._fidelity.learn(self.records()):
            self.watcher.said(self._fidelity.said())

    def _no_freeu(self) -> Evaluation | None:
        """What it got, once it is complete."""
        if self._base is None:
            record = next((one for one in self.records() if one.complete and one.factors.identity), None)
            if record is not None:
                scores, features = self.folder.read_scores(record.number), self.folder.read_features()
                self._base = Evaluation(record.values, record.images, scores, features)
        return self._base

    def _goes_on(self, number: int, n: int) -> bool:
        """Whether a trial ranks high enough among all that reached this rung."""
        reached = [each.rungs[n] for key, each in self._running.items() if n in each.rungs and key != number]
        reached += [record.rungs[n] for record in self.records() if n in record.rungs]
        rows = [*reached, self._running[number].rungs[n]]
        return racing.goes_on(
            np.array([racing.maximised(row, self.directions) for row in rows]),
            [row.get(VIOLATION, -1.0) <= 0 for row in rows],
        )

    # To end a trial

    def _ended(self, number: int, found: Evaluation, shifts: Mapping[str, float]) -> None:
        running = self._running[number]
        record = TrialRecord(
            number,
            running.factors,
            running.origin,
            "COMPLETE",
            {name: found.values[name] for name in self.directions},
            found.seconds,
            found.n,
            found.unet_evaluations,
            guardrails=dict(shifts),
            rungs=running.rungs,
            peak_memory=found.peak_memory,
        )
        self._failures = 0
        self._kept(record, found, running.images)
        self._measured()

    def _failed(self, number: int, reason: str) -> None:
        running = self._running[number]
        seconds = {"total": time.perf_counter() - running.began}
        self._kept(TrialRecord(number, running.factors, running.origin, "FAIL", seconds=seconds, reason=reason))
        self._failures += 1
        if running.factors.identity:
            raise Failing(f"no FreeU, which all candidates are compared with, failed: {reason}")
        if self._failures == PATIENCE:
            raise Failing(f"{PATIENCE} trials in a row failed, the last one so: {reason}")

    def _given_back(self, number: int, reason: str) -> None:
        """Tell a trial as failed, and queue its candidate again."""
        running = self._running[number]
        deaths = int(running.attrs.get(DEATHS, 0)) + (reason != "interrupted")
        if deaths == PATIENCE:
            self._failed(number, f"{reason}, {deaths} times")
            return
        with self.storage.lock():
            self._retry(number, running.params, {**running.attrs, DEATHS: deaths})
            seconds = {"total": time.perf_counter() - running.began}
            self._kept(TrialRecord(number, running.factors, running.origin, "FAIL", seconds=seconds, reason=reason))

    def _kept(self, record: TrialRecord, found: Evaluation | None = None, images: Sequence[torch.Tensor] = ()) -> None:
        """Write a trial of ours down and tell it; drop it where others have taken it for lost meanwhile."""
        trial = self._running.pop(record.number).trial
        per_image = found.per_image if found is not None else None
        features = found.features if found is not None and record.factors.identity else {}
        if self.storage.shared:
            with self.storage.lock():
                mine = not self._study._storage.get_trial(trial._trial_id).state.is_finished()
                if mine:
                    for key, value in shared.packed(record, per_image, features).items():
                        trial.set_user_attr(key, value)
                    self._tell(record, trial)
            self.storage.release(trial._trial_id)
            if not mine:
                return
        self._write(record, per_image, features, _joined(images))
        if not self.storage.shared:
            self._tell(record, trial)
        self.watcher.ended(record)

    def _write(
        self,
        record: TrialRecord,
        per_image: pd.DataFrame | None = None,
        features: Mapping[str, np.ndarray] | None = None,
        images: torch.Tensor | None = None,
    ) -> None:
        if features:
            self.folder.write_features(features)
        self.folder.write_trial(record, per_image, images)
        self._records[record.number] = record

    def _tell(self, record: TrialRecord, trial: Trial) -> None:
        from optuna.trial import TrialState

        if record.complete and self.space.holds(record.factors):
            errors = [record.values[name].paired / math.sqrt(2) for name in self.directions]
            trial.set_user_attr(SPREADS, [error if math.isfinite(error) else None for error in errors])
            if record.guardrails:
                trial.set_constraint(CONSTRAINT, record.violation)
            self._study.tell(trial, [record.values[name].value for name in self.directions])
        else:  # or it would teach the sampler of a point that it is not
            self._study.tell(trial, state=TrialState.FAIL)

    # What others did, and what the dead left

    def _learn(self) -> None:
        """The records of trials that ended on other machines."""
        if not self.storage.shared:
            return
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number not in self._records and trial.state.is_finished() and shared.RECORD in trial.user_attrs:
                self._write(*shared.unpacked(trial.user_attrs))
                self.watcher.elsewhere(self._records[trial.number])

    def _forget(self) -> None:
        """Drop the records that a folder's storage lost by a power cut: the same candidates come again, their scores
        from the cache.
        """
        if self.storage.shared:
            return
        kept = {trial.number for trial in self._study.get_trials(deepcopy=False) if self._candidate(trial) is not None}
        for number in self._records.keys() - kept:
            self.folder.record_file(number).unlink()
            del self._records[number]

    def _reap(self) -> None:
        from optuna.trial import Trial

        for number in self.storage.lost(self._study):
            trial = self._study.get_trials(deepcopy=False)[number]
            if self.storage.shared and shared.RECORD in trial.user_attrs:
                self._write(*shared.unpacked(trial.user_attrs))
            elif self.storage.shared or number not in self._records:
                self._bury(trial)
            if number in self._records:
                self._tell(self._records[number], Trial(self._study, trial._trial_id))

    def _bury(self, trial: FrozenTrial) -> None:
        """Queue a dead trial's candidate again, and write the trial down as failed."""
        from optuna.trial import Trial, TrialState

        if (params := self._candidate(trial)) is not None:
            self._retry(trial.number, params, trial.user_attrs)
            origin = str(trial.user_attrs.get(ORIGIN, self.sampler))
            factors, reason = self._factors(trial.user_attrs, params), "its process ended before it did"
            record = TrialRecord(trial.number, factors, origin, "FAIL", reason=reason)
            if self.storage.shared:
                for key, value in shared.packed(record).items():
                    Trial(self._study, trial._trial_id).set_user_attr(key, value)
            self._write(record)
        elif self.storage.shared:  # killed while its candidate was being chosen; others went on
            self._study.tell(trial.number, state=TrialState.FAIL)
        else:
            self._half_chosen.append(trial._trial_id)

    def _factors(self, attrs: Mapping[str, Any], params: Mapping[str, Choice]) -> Factors:
        """A candidate's; one from outside of the space has them in its own attribute."""
        outside = attrs.get(OUTSIDE)
        return Factors.from_dict(outside) if outside is not None else self.space.factors(params)

    def _candidate(self, trial: FrozenTrial) -> dict[str, Choice] | None:
        """What the trial tries; None where its process died while it was being chosen."""
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        wanted = self.space.needed(params)
        return {name: params[name] for name in wanted} if wanted <= set(params) else None

    def _retry(self, number: int, params: Mapping[str, Choice], attrs: Mapping[str, Any]) -> None:
        # Before the trial is told as failed: killed between the two, the next start finds it queued already.
        if not any(trial.user_attrs.get(RETRY) == number for trial in self._study.get_trials(deepcopy=False)):
            kept = {name: attrs[name] for name in (OUTSIDE, ORIGIN, DEATHS) if name in attrs}
            self._study.enqueue_trial(dict(params), user_attrs={ORIGIN: self.sampler, **kept, RETRY: number})

    # What is tried first

    def _queue(self, fixed: Sequence[tuple[str, Factors]]) -> None:
        points = self.space.sobol(SOBOL, samplers.derived(self.seed, "sobol"))
        trials = self._study.get_trials(deepcopy=False)
        there = {trial.user_attrs.get(SLOT) for trial in trials}
        for origin, factors in fixed:
            outside = {} if self.space.holds(factors) else {OUTSIDE: factors.as_dict()}
            coming = any(not trial.state.is_finished() for trial in trials if trial.user_attrs.get(ORIGIN) == origin)
            lost = factors.identity and origin in there and not coming and self._no_freeu() is None
            slot = f"{origin}, after {len(trials)}" if lost else origin  # nothing goes without it
            self._enqueue(there, slot, origin, self.space.params(factors), outside)
        for number, point in enumerate(points):
            self._enqueue(there, f"sobol {number}", "sobol", point, {})

    def _enqueue(
        self, there: Collection[Any], slot: str, origin: str, params: Mapping[str, Choice], more: Mapping[str, Any]
    ) -> None:
        if slot not in there:
            kind = origin.partition(":")[0]
            self._study.enqueue_trial(dict(params), user_attrs={SLOT: slot, ORIGIN: kind, **more})


class Failing(UserError):
    """Trials fail for a reason that the next ones would share."""


def _joined(images: Sequence[torch.Tensor]) -> torch.Tensor | None:
    import torch

    return torch.cat(list(images)) if images else None
