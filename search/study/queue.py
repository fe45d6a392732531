"""The candidates that wait to be tried: the fixed ones, the Sobol points, and those of processes that died.

They wait in Optuna's own queue. Each carries its origin and, if it has one, its slot, so a later start finds it there
and queues nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from freeu import Factors
from search.optimizer import samplers
from search.optimizer.dimension import Choice
from search.optimizer.space import SOBOL, Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

BASELINE = "baseline"  # an origin
OUTSIDE = "outside"  # the factors of a fixed candidate that the space does not hold, as the baseline in a narrow one
RETRY, SLOT, ORIGIN = "retry_of", "slot", "origin"
DEATHS = "deaths"  # of the workers that had a candidate in their hands


class Queue:
    """The waiting candidates of one Optuna study. The caller holds the study's lock."""

    def __init__(self, optuna: Study, space: Space, sampler: str) -> None:
        self._optuna, self._space, self._sampler = optuna, space, sampler

    def fill(self, fixed: Sequence[tuple[str, Factors]], seed: int, baseline_done: bool) -> None:
        """Queue the fixed candidates, then the Sobol points; skip those that were queued before."""
        trials = self._optuna.get_trials(deepcopy=False)
        there = {trial.user_attrs.get(SLOT) for trial in trials}
        for origin, factors in fixed:
            outside = {} if self._space.holds(factors) else {OUTSIDE: factors.as_dict()}
            coming = any(not trial.state.is_finished() for trial in trials if trial.user_attrs.get(ORIGIN) == origin)
            lost = factors.identity and origin in there and not coming and not baseline_done
            slot = f"{origin}, after {len(trials)}" if lost else origin  # nothing goes without it
            if slot not in there:
                self._add(self._space.params(factors), {SLOT: slot, ORIGIN: origin.partition(":")[0], **outside})
        for number, point in enumerate(self._space.sobol(SOBOL, samplers.derived(seed, "sobol"))):
            if f"sobol {number}" not in there:
                self._add(point, {SLOT: f"sobol {number}", ORIGIN: "sobol"})

    def again(self, number: int, params: Mapping[str, Choice], attrs: Mapping[str, Any]) -> None:
        """Queue a trial's candidate again, but only once, whoever asks."""
        # Before the trial is told as failed: killed between the two, the next start finds it queued already.
        if not any(trial.user_attrs.get(RETRY) == number for trial in self._optuna.get_trials(deepcopy=False)):
            kept = {name: attrs[name] for name in (OUTSIDE, ORIGIN, DEATHS) if name in attrs}
            self._add(params, {ORIGIN: self._sampler, **kept, RETRY: number})

    def take_baseline(self) -> Trial | None:
        """Begin the baseline, ahead of all that waits: the others are compared with it. None if it isn't waiting."""
        from optuna.trial import Trial, TrialState

        for trial in self._optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            if trial.user_attrs.get(ORIGIN) == BASELINE:
                self._optuna._storage.set_trial_state_values(trial._trial_id, state=TrialState.RUNNING)
                return Trial(self._optuna, trial._trial_id)
        return None

    def candidate(self, trial: FrozenTrial) -> dict[str, Choice] | None:
        """The trial's parameters; None if its process died before all were chosen."""
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        wanted = self._space.needed(params)
        return {name: params[name] for name in wanted} if wanted <= set(params) else None

    def factors(self, attrs: Mapping[str, Any], params: Mapping[str, Choice]) -> Factors:
        """A candidate's factors; a candidate outside the space has them in an attribute of its own."""
        outside = attrs.get(OUTSIDE)
        return Factors.from_dict(outside) if outside is not None else self._space.factors(params)

    def _add(self, params: Mapping[str, Choice], attrs: Mapping[str, Any]) -> None:
        self._optuna.enqueue_trial(dict(params), user_attrs=dict(attrs))
