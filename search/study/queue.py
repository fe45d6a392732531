"""What waits to be tried: what comes again before all, then the fixed candidates and the Sobol points.

All of it is Optuna's own queue of trials: a candidate there carries its origin and, if it has one, its slot, so
a later start finds it there and queues nothing twice. What the sampler proposes depends on its place in the study,
which what comes again doesn't move.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from freeu import Candidate, Sampling
from search.optimizer import samplers
from search.optimizer.dimension import Choice
from search.optimizer.space import SOBOL, Space, off
from search.settings.first_candidates import TUNED
from search.study.next_scale import TURN, next_scale

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from search.storage import TrialRecord

BASELINE = "baseline"  # an origin
OUTSIDE = "outside"  # a fixed candidate that the space does not hold, as the baseline in a narrow one
RETRY, SLOT, ORIGIN = "retry_of", "slot", "origin"
DEATHS = "deaths"  # of the workers and processes that had a candidate in their hands
BEGUN = "begun"  # how often its process began to evaluate it, in a folder of one's own, without an end or an interrupt
FATAL = 3  # deaths under one candidate, after which it is told as failed
PLACE = "place"  # where it is not the trial's number
OFF_TURN = 4
"""One trial in so many has FreeU off where sampling settings are searched: a quarter, for fewer dimensions."""


class Queue:
    """The waiting candidates of one Optuna study. The caller holds the study's lock."""

    def __init__(self, optuna: Study, space: Space, sampler: str) -> None:
        self._optuna, self._space, self._sampler, self._tuned = optuna, space, sampler, False

    def fill(self, fixed: Sequence[tuple[str, Candidate]], seed: int, baseline_done: bool) -> None:
        """Queue the fixed candidates, then the Sobol points; skip those that were queued before."""
        trials = self._optuna.get_trials(deepcopy=False)
        self._tuned = any(origin.startswith(f"{TUNED}:") for origin, _ in fixed)
        there = {trial.user_attrs.get(SLOT) for trial in trials}
        for origin, candidate in fixed:
            outside = {} if self._space.holds(candidate) else {OUTSIDE: candidate.as_dict()}
            if origin not in there:
                self._add(self._space.params(candidate), {SLOT: origin, ORIGIN: origin.partition(":")[0], **outside})
            elif candidate.baseline and not baseline_done:  # nothing goes without it
                last = [trial for trial in trials if trial.user_attrs.get(ORIGIN) == BASELINE][-1]
                if last.state.is_finished():
                    self.again(last.number, self._space.params(candidate), {ORIGIN: BASELINE, **outside})
        for number, point in enumerate(self._space.sobol(SOBOL, samplers.derived(seed, "sobol"))):
            if f"sobol {number}" not in there:
                self._add(point, {SLOT: f"sobol {number}", ORIGIN: "sobol"})

    def again(self, number: int, params: Mapping[str, Choice], attrs: Mapping[str, Any]) -> None:
        """Queue a trial's candidate again, but only once, whoever asks."""
        # Before the trial is told as failed: killed between the two, the next start finds it queued already.
        if not any(trial.user_attrs.get(RETRY) == number for trial in self._optuna.get_trials(deepcopy=False)):
            kept = {name: attrs[name] for name in (OUTSIDE, ORIGIN, DEATHS) if name in attrs}
            self._add(params, {ORIGIN: self._sampler, **kept, RETRY: number})

    def take(self, baseline_done: bool) -> int | None:
        """Begin what is to come next; Optuna's id of it, None where nothing waits. Without the baseline nothing else
        begins: all others are compared with it.
        """
        from optuna.trial import TrialState

        waiting = self._optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not baseline_done:
            waiting = [trial for trial in waiting if trial.user_attrs.get(ORIGIN) == BASELINE]
        if not waiting:
            return None
        again = [trial for trial in waiting if RETRY in trial.user_attrs]
        first = min(again, key=lambda trial: trial.user_attrs[RETRY]) if again else waiting[0]
        self._optuna._storage.set_trial_state_values(first._trial_id, state=TrialState.RUNNING)
        return first._trial_id

    def off_turn(self, records: Sequence[TrialRecord], directions: Mapping[str, str]) -> int | None:
        """Begin a trial with FreeU off, where it is such a one's turn: so the best that can be had without FreeU is
        searched for as well. Where sampling settings are searched the sampler chooses them; else it is a guidance
        scale, where some are tried. records: of the trials so far.
        """
        fixed, place = self._space.off_params(), self.place()
        if fixed is not None:
            if place % OFF_TURN != OFF_TURN - 1:
                return None
            self._add(fixed, {ORIGIN: TUNED})
        else:
            if not self._tuned or place % TURN != TURN - 1:
                return None
            scale = next_scale(records, directions, self._space.own.guidance or 0.0, place // TURN)
            if scale is None:
                return None
            candidate = off(self._space, Sampling(guidance=scale))
            self._add(self._space.params(candidate), {ORIGIN: TUNED, OUTSIDE: candidate.as_dict()})
        return self.take(baseline_done=True)

    def place(self, trial_id: int | None = None) -> int:
        """The first place in the study that no other trial has. What comes again has none of its own, and who died
        before its candidate was chosen leaves it to the next. trial_id: Optuna's, of one without a candidate yet.
        """
        from optuna.trial import TrialState

        taken = {
            trial.user_attrs.get(PLACE, trial.number)
            for trial in self._optuna.get_trials(deepcopy=False)
            if trial._trial_id != trial_id
            and RETRY not in trial.user_attrs
            and not (trial.state == TrialState.FAIL and self.params(trial) is None)
        }
        return next(place for place in itertools.count() if place not in taken)

    def params(self, trial: FrozenTrial) -> dict[str, Choice] | None:
        """The trial's parameters; None if its process died before all were chosen."""
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        wanted = self._space.needed(params)
        return {name: params[name] for name in wanted} if wanted <= set(params) else None

    def candidate(self, attrs: Mapping[str, Any], params: Mapping[str, Choice]) -> Candidate:
        """A trial's candidate; one outside the space stands in an attribute of its own."""
        outside = attrs.get(OUTSIDE)
        return Candidate.from_dict(outside) if outside is not None else self._space.candidate(params)

    def _add(self, params: Mapping[str, Choice], attrs: Mapping[str, Any]) -> None:
        self._optuna.enqueue_trial(dict(params), user_attrs=dict(attrs))
