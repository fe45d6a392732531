"""A cheaper first rung: images of fewer denoising steps or smaller ones, as long as they rank candidates as whole ones.

Optional (`low_steps`, `low_size`); here "few steps" stands for both. The first candidates are evaluated on the first
rung's prompts both ways. If the rank correlation (Spearman's) is surely at least `ENOUGH` in each objective, by the
lower end of its 95 % interval (Bonett and Wright, Psychometrika 2000), later candidates begin with few steps, and the
promising ones go on to the second rung with all steps; the others get the scores that all steps are expected to give,
from a straight line through the first candidates'. Otherwise few steps are dropped. The baseline has its own scores of
few steps on all prompts, so within either kind of image everything is compared as in
search/evaluation/extrapolation.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from search.evaluation import Evaluation
from search.storage import TrialRecord, Value

PAIRS = 12
"""Candidates that are evaluated both ways."""
ENOUGH = 0.8
QUANTILE = 1.96
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True)
class Line:
    """All steps' score by few steps': slope · low + shift, give or take `off` (a standard deviation)."""

    correlation: float
    slope: float
    shift: float
    off: float
    least: float = -1.0
    """The lower end of the correlation's interval."""

    def expected(self, low: Value) -> Value:
        """With the line's own error in its standard errors."""
        spread, paired = (math.hypot(self.slope * each, self.off) for each in (low.spread, low.paired))
        return replace(low, value=self.slope * low.value + self.shift, spread=spread, paired=paired)


@dataclass(frozen=True)
class Draft:
    """The cheaper images. base: the baseline's evaluation with such, on all prompts. pixels: of one, as a share of a
    whole image's; a step of the U-Net takes that share or less. cheap, whole: what both are called."""

    base: Evaluation
    pixels: float = 1.0
    cheap: str = "few steps"
    whole: str = "all steps"


class Fidelity:
    """How well scores of few steps predict those of all steps. Measured once per study, on its first candidates."""

    def __init__(self, draft: Draft, n: int, objectives: Sequence[str]) -> None:
        """n: prompts of the first rung."""
        self.base, self.draft, self.n = draft.base, draft, n
        self._objectives = tuple(objectives)
        self.lines: dict[str, Line] | None = None
        self.pays = True

    @property
    def rung(self) -> int:
        """The key of few steps' scores among a trial's rungs: those of all steps are above 0."""
        return -self.n

    @property
    def measured(self) -> bool:
        return self.lines is not None

    @property
    def usable(self) -> bool:
        """Whether few steps are known to rank as all do, and pay."""
        return self.pays and self.lines is not None and min(each.least for each in self.lines.values()) >= ENOUGH

    @property
    def wanted(self) -> bool:
        """Whether a candidate begins with few steps: still to be measured, or usable."""
        return self.usable or not self.measured

    def learn(self, records: Sequence[TrialRecord], once: Callable[[str, Callable[[], Any]], Any]) -> bool:
        """Measure, where there are pairs enough by now. True where that has just happened.

        once: keeps what is made under a name with the study, so that after a restart, and on other machines, it is the
        same candidates that tell.
        """
        known = {
            each.number: each.rungs for each in records if each.complete and {self.n, self.rung} <= each.rungs.keys()
        }
        if self.measured or len(known) < PAIRS:
            return False
        numbers = once("few steps", lambda: sorted(known)[:PAIRS])
        if not set(numbers) <= known.keys():  # of another machine, and not here yet
            return False
        pairs = [known[number] for number in numbers]
        self.lines = {
            name: line(*np.array([[rungs[self.rung][name], rungs[self.n][name]] for rungs in pairs]).T)
            for name in self._objectives
        }
        return True

    def weigh(self, records: Sequence[TrialRecord]) -> bool:
        """Give few steps up where they cost more than they save. True where that has just happened.

        Whoever begins with few steps and goes on has cost them on top; whoever ends there has saved the rest. With a
        share p of them going on and few steps at a share r of all, that pays as long as r + p < 1.
        """
        begun = [each.rungs for each in records if self.rung in each.rungs and self.n not in each.rungs]
        base = next((each for each in records if each.complete and each.candidate.baseline), None)
        if not self.usable or base is None or len(begun) < PAIRS:
            return False
        share = (self.base.unet_evaluations / self.base.n) / (base.unet_evaluations / base.images) * self.draft.pixels
        went_on = sum(max(rungs) > 0 for rungs in begun) / len(begun)
        self.pays = share + went_on < 1
        return not self.pays

    def expected(self, low: Evaluation) -> Evaluation:
        """What the candidate would get with all steps. Its images and their scores are not of that kind: left out."""
        assert self.lines is not None
        values = {**low.values, **{name: each.expected(low.values[name]) for name, each in self.lines.items()}}
        return replace(low, values=values, per_image=None, features={}, images=None)

    def said(self) -> str:
        """For a person."""
        assert self.lines is not None
        found = ", ".join(
            f"{name} {each.correlation:.2f} (at least {each.least:.2f})" for name, each in self.lines.items()
        )
        cheap, whole = self.draft.cheap, self.draft.whole
        if not self.pays:
            return f"{cheap} no longer pay: too many candidates go on; they are dropped"
        end = f"candidates begin with {cheap}" if self.usable else f"not surely {ENOUGH}, so {cheap} are dropped"
        return f"rank correlation of {cheap} with {whole}, over {PAIRS} candidates: {found}; {end}"


def line(low: np.ndarray, full: np.ndarray) -> Line:
    """Fitted by least squares to (n,) scores each, n of 3 at least. Where either is constant nothing correlates."""
    from scipy.stats import linregress, spearmanr

    if np.ptp(low) == 0 or np.ptp(full) == 0:
        return Line(0.0, 0.0, float(full.mean()), float(full.std(ddof=1)))
    fit = linregress(low, full)
    off = full - (fit.slope * low + fit.intercept)
    deviation = math.sqrt(float(off @ off) / (len(low) - 2))
    correlation = float(spearmanr(low, full).statistic)
    return Line(correlation, float(fit.slope), float(fit.intercept), deviation, lower_end(correlation, len(low)))


def lower_end(correlation: float, n: int) -> float:
    """Of the 95 % interval of Spearman's rank correlation over n pairs; -1 for fewer than four."""
    if n < 4:
        return -1.0
    if abs(correlation) >= 1:
        return correlation
    error = math.sqrt((1 + correlation**2 / 2) / (n - 3))
    return math.tanh(math.atanh(correlation) - QUANTILE * error)


def made(record: TrialRecord) -> int:
    """The number of images made for a trial, those of few steps included."""
    low = sum(-n for n in record.rungs if n < 0)
    return low if low and max(record.rungs) < 0 else record.images + low


def cost(record: Evaluation, low: Evaluation | None) -> Evaluation:
    """With what few steps took before it."""
    if low is None:
        return record
    seconds: Mapping[str, float] = low.seconds
    return replace(
        record,
        seconds={name: spent + seconds.get(name, 0.0) for name, spent in record.seconds.items()},
        unet_evaluations=record.unet_evaluations + low.unet_evaluations,
        peak_memory=max(record.peak_memory, low.peak_memory),
    )
