"""The record of a finished trial, to and from JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from configs import quoted
from freeu import Candidate, Factors, Sampling
from freeu.sampling import UNCHANGED

SPREADS = "spreads"
"""Attribute of Optuna's trial: the standard error of each objective, to compare trials by."""
IMAGES = "images"
"""Another: how many images they are from."""
VIOLATION = "violation"
"""Of a rung, beside its objectives."""
INTERRUPTED = "interrupted"
"""The reason of a trial that a signal ended: its candidate comes again."""


@dataclass(frozen=True)
class Value:
    """One objective of one trial, from n images; of fewer than all prompts it is what is to be expected on all.

    spread: its standard error; paired: that of its difference to the baseline; nan where unknown. direction: "up",
    "down".
    """

    value: float
    spread: float
    n: int
    direction: str
    paired: float = math.nan


@dataclass(frozen=True)
class TrialRecord:
    """What is known of a trial once it has ended.

    origin: what proposed the candidate ("baseline", "published", "sobol", or the sampler's name).
    state: "COMPLETE", or "FAIL" with its reason and no values. seconds: generate, score, total.
    guardrails: how far each measure is from the baseline's, in the spreads of
    `search.evaluation.guardrails`; none where they are off.
    images: how many prompts it was evaluated on; where that is a part of them, `values` are what is to be expected on
    all. rungs: number of prompts → objective → what was expected after the first so many, and its violation then.
    sampling: the settings in which the candidate differs from the study.
    peak_memory: bytes at most while it was evaluated (search/evaluation/peak_memory.py); 0 where unknown.
    """

    number: int
    factors: Factors
    origin: str
    state: str
    values: dict[str, Value] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    images: int = 0
    unet_evaluations: int = 0
    reason: str | None = None
    guardrails: dict[str, float] = field(default_factory=dict)
    rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    peak_memory: int = 0
    sampling: Sampling = UNCHANGED

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.factors, self.sampling)

    @property
    def feasible(self) -> bool:
        """Within the guardrails."""
        return self.violation <= 0

    @property
    def violation(self) -> float:
        """How far out of bounds the worst guardrail is, in spreads; 0 or less is within."""
        return violation(self.guardrails)

    @property
    def complete(self) -> bool:
        return self.state == "COMPLETE"

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended it, so that nothing is wrong with its candidate."""
        return self.reason == INTERRUPTED

    @property
    def ending(self) -> str:
        """Of a trial that is not complete, in words."""
        return INTERRUPTED if self.interrupted else f"failed: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """Plain types; a spread that isn't a number becomes None, since JSON has no nan."""
        values = {
            name: {
                "value": v.value,
                "spread": _or_none(v.spread),
                "n": v.n,
                "direction": v.direction,
                "paired": _or_none(v.paired),
            }
            for name, v in self.values.items()
        }
        plain = {name: getattr(self, name) for name in ("number", "origin", "state", "seconds", "images")}
        more = {
            name: getattr(self, name) for name in ("unet_evaluations", "reason", "guardrails", "rungs", "peak_memory")
        }
        sampling = {"sampling": self.sampling.as_dict()} if self.sampling.as_dict() else {}
        return plain | {"factors": self.factors.as_dict(), "values": values} | more | sampling

    @staticmethod
    def from_dict(found: Mapping[str, Any]) -> TrialRecord:
        """The inverse of `as_dict`."""
        values = {
            name: Value(_number(v["value"]), _or_nan(v["spread"]), v["n"], v["direction"], _or_nan(v.get("paired")))
            for name, v in found["values"].items()
        }
        rungs = {int(n): _numbers(scores) for n, scores in found.get("rungs", {}).items()}
        for name in ("seconds", "guardrails"):
            _numbers(found.get(name, {}))
        for name in ("number", "images", "unet_evaluations", "peak_memory"):
            _number(found.get(name, 0))
        for name in ("origin", "state", "reason"):
            if not isinstance(text := found.get(name), str | None):
                raise TypeError(f"{name} is {quoted(text)}: expected a text")
        if found["state"] not in ("COMPLETE", "FAIL"):
            raise TypeError(f"its state is {quoted(found['state'])}")
        if found["state"] == "FAIL" and not found.get("reason"):
            raise TypeError("it failed, and has no reason")
        candidate = Factors.from_dict(found["factors"]), Sampling.from_dict(found.get("sampling", {}))
        return TrialRecord(
            **{**found, "factors": candidate[0], "sampling": candidate[1], "values": values, "rungs": rungs}
        )


def _or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _or_nan(number: float | None) -> float:
    return math.nan if number is None else _number(number)


def _number(found: Any) -> Any:
    """Raises TypeError for what is none: a record may come from a damaged file."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError(f"{quoted(found)} is no number")
    return found


def _numbers(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _number(value) for name, value in found.items()}


def violation(guardrails: Mapping[str, float]) -> float:
    """How far out of bounds the worst guardrail is, in spreads; 0 or less is within."""
    return max((abs(shift) for shift in guardrails.values()), default=0.0) - 1
