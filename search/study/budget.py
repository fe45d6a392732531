"""When a search stops early: out of time, images or device hours, or without improvement (`patience`).

Each budget sets aside what the confirmation will take, estimated from the trials so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from search.storage import TrialRecord
from search.study.fewer_steps import made

if TYPE_CHECKING:
    from search.study.plan import Plan

GROWTH = 0.01
"""Of the hypervolume: less over `patience` trials is none."""
FIRST = 2
"""Trials that any budget has: the baseline and one candidate, else there is nothing to say."""


class Budget:
    """Says before each trial whether it may begin. Once it has said no with nothing running, the answer stays no."""

    def __init__(self, plan: Plan, began: float, say: Callable[[str], None]) -> None:
        """began: when the run began, by time.monotonic. say: called with the reason when the search ends."""
        self._plan, self._began, self._say = plan, began, say
        self._space, self._directions = plan.job.space, plan.job.directions
        self._ended = False
        self._seen = 0  # complete trials when the hypervolume was last computed

    def __call__(self, records: Sequence[TrialRecord], running: int) -> bool:
        """Whether another trial may begin. records: of finished trials. running: number of trials in flight."""
        done = [record for record in records if record.complete]
        if self._ended or not done or len(done) + running < FIRST:
            return not self._ended
        still, spent = self._still(done), self._spent(done, running)
        if still or (spent and not running):  # those that run may take less than is expected of them
            self._ended = True
            self._say(f"the search ends: {still or spent}")
        return not (still or spent)

    def _spent(self, done: Sequence[TrialRecord], running: int) -> str | None:
        config, plan = self._plan.job.config, self._plan
        seconds = sum(record.seconds["total"] for record in done)
        images = sum(made(record) for record in done)
        each = plan.once(images)  # of a candidate, in the confirmation
        reserve = plan.passes * each
        a_trial = images / len(done)
        per_image = seconds / max(1, images)
        # A trial is one worker's work, and so is each pass of the confirmation.
        left = per_image * (a_trial + math.ceil(plan.passes / max(1, config.workers)) * each)
        if config.minutes is not None and (monotonic() - self._began + left) > 60 * config.minutes:
            return f"{config.minutes:g} minutes, confirmation included, are used up"
        # the baseline's, two more times
        first = plan.images * (bool(config.guardrails) + (plan.job.low is not None))
        whole = images + first + (running + 1) * a_trial + reserve
        if config.images is not None and whole > config.images:
            return f"{config.images:,} images, {reserve:,} for the confirmation included, are used up"
        hours = per_image * whole / 3600
        if config.gpu_hours is not None and hours > config.gpu_hours:
            return f"{config.gpu_hours:g} device hours, confirmation included, are used up"
        return None

    def left(self, done: Sequence[TrialRecord], most: int) -> int:
        """How many images are left of every budget after these complete trials, `most` at most."""
        config = self._plan.job.config
        images = sum(made(record) for record in done)
        per_image = sum(record.seconds["total"] for record in done) / max(1, images)
        found = [float(most)]
        if config.images is not None:
            found.append(config.images - images)
        if config.gpu_hours is not None:
            found.append(3600 * config.gpu_hours / per_image - images)
        if config.minutes is not None:
            found.append((60 * config.minutes - (monotonic() - self._began)) / per_image * config.workers)
        return max(0, math.floor(min(found)))

    def _still(self, done: Sequence[TrialRecord]) -> str | None:
        patience = self._plan.job.config.patience
        if patience is None or not self._stands_still(done, patience):
            return None
        return f"the front's hypervolume has not grown by {GROWTH:.0%} over {patience} trials"

    def _stands_still(self, done: Sequence[TrialRecord], patience: int) -> bool:
        """Whether the posterior front is no larger than it was `patience` trials ago, under today's model."""
        from search.optimizer.hypervolume_box import Box
        from search.optimizer.pareto_front import candidates, find, hypervolume

        if len(done) <= max(patience, self._plan.first) or len(done) == self._seen:
            return False
        self._seen = len(done)
        front = find(done, self._directions, self._space)
        signs = np.array([1 if direction == "up" else -1 for direction in self._directions.values()])
        box, reference = Box.of(done, self._directions), np.zeros(len(signs))
        kept = [one.number for one in candidates(done)]
        table = {k: box.scaled(signs * [front.expected[name][k] for name in self._directions]) for k in kept}
        early = {one.number for one in done[:-patience]}
        before = [row for number, row in table.items() if number in early]
        now = list(table.values())
        whole = hypervolume(np.array(now), reference)
        return hypervolume(np.array(before).reshape(-1, len(signs)), reference) >= (1 - GROWTH) * whole
