"""What a preset is: a candidate with all that is needed to trust and use it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import configs
from configs import UserError, quoted
from freeu.factors import Factors
from freeu.sampling import UNCHANGED, Sampling

SCORE_KEYS = ("value", "base", "difference", "low", "high", "p", "p_holm", "win_rate", "n")
"""What a metric's score may hold: the value under the factors, the one without FreeU, their paired difference
with its 95 % interval (low, high), the permutation p and its correction, the share of prompts won, and the number
of images."""
LONGEST = 100  # characters of a title


class PresetError(UserError, ValueError):
    """A preset that is malformed, or that a format can't hold."""


@dataclass(frozen=True)
class Preset:
    """Factors, the model that they were found for, and what they scored on held-out prompts.

    Attributes:
        factors: with their version and stage convention; the numbers mean nothing without the two.
        model, model_identity: the base model's name and the SHA-256 of its files ("" where unknown).
        study, pick: where it comes from; None where no search found it.
        scores: by metric; keys of SCORE_KEYS, finite numbers or None, `value` always there.
        created: date and time, ISO 8601; None where unknown.
        verdict: what its study says of FreeU; None where no study does.
        sampling: the settings under which the factors were found; none are set where unknown.
    """

    factors: Factors
    model: str
    model_identity: str = ""
    study: str | None = None
    pick: str | None = None
    scores: Mapping[str, Mapping[str, float | int | None]] = field(default_factory=dict)
    created: str | None = None
    verdict: str | None = None
    sampling: Sampling = UNCHANGED

    def __post_init__(self) -> None:
        for name, value in (("model", self.model), ("model_identity", self.model_identity)):
            if not isinstance(value, str):
                raise PresetError(f"{name} of the preset is {quoted(value)}: expected text")
        for name in ("study", "pick", "created", "verdict"):
            if not isinstance(getattr(self, name), str | None):
                raise PresetError(f"{name} of the preset is {quoted(getattr(self, name))}: expected text")
        if not isinstance(self.sampling, Sampling):
            raise PresetError(f"sampling of the preset is {quoted(self.sampling)}: expected freeu.Sampling")
        if not isinstance(self.scores, Mapping):
            raise PresetError(f"scores of the preset are {quoted(self.scores)}: expected a mapping by metric")
        object.__setattr__(self, "scores", {name: _score(name, score) for name, score in self.scores.items()})

    @property
    def comment(self) -> str:
        """The verdict as a line of Python's comments; empty where there is none."""
        return "" if self.verdict is None else f"# {ascii(self.verdict)[1:-1]}\n"

    @property
    def title(self) -> str:
        """A name for a tool's list of presets, of visible characters."""
        words = (self.study or self.model, self.pick)
        shown = " ".join("".join(c if c.isprintable() else " " for c in word or "") for word in words).split()
        return " ".join(shown)[:LONGEST] or "FreeU"


def _score(metric: Any, score: Any) -> dict[str, float | int | None]:
    if not isinstance(metric, str) or not isinstance(score, Mapping):
        raise PresetError(f"score {quoted(metric)} of the preset is {quoted(score)}: expected a mapping")
    for key, value in score.items():
        if key not in SCORE_KEYS:
            raise PresetError(str(configs.unknown(f"key of score {metric}", key, SCORE_KEYS)))
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise PresetError(f"{key} of score {metric} is {quoted(value)}: expected a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise PresetError(f"{key} of score {metric} is {value}: leave out what is not known")
    if score.get("value") is None:
        raise PresetError(f"score {metric} of the preset has no value")
    return dict(score)
