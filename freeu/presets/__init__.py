"""Presets: factors with all that is needed to trust and use them, in the formats of other tools.

A format is one file here with `render(preset) -> str`, and one word in FORMATS. What a tool can't honour is refused
with the reason and the nearest thing that can be done, never written silently wrong.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import configs
from configs import UserError
from freeu.factors import Factors

__all__ = ["FORMATS", "SCORE_KEYS", "Preset", "PresetError", "read", "render", "write"]

FORMATS = ("yaml", "diffusers", "comfyui")
"""Each the name of a module here."""
SCORE_KEYS = ("value", "base", "difference", "low", "high", "p", "p_holm", "win_rate", "n")
"""What a metric's score may hold: the value under the factors, the one without FreeU, their paired difference
with its 95 % interval (low, high), the permutation p and its correction, the share of prompts won, and the number
of images."""


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
    """

    factors: Factors
    model: str
    model_identity: str = ""
    study: str | None = None
    pick: str | None = None
    scores: Mapping[str, Mapping[str, float | int | None]] = field(default_factory=dict)
    created: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("model", self.model), ("model_identity", self.model_identity)):
            if not isinstance(value, str):
                raise PresetError(f"{name} of the preset is {value!r}: expected text")
        for name in ("study", "pick", "created"):
            if not isinstance(getattr(self, name), str | None):
                raise PresetError(f"{name} of the preset is {getattr(self, name)!r}: expected text")
        if not isinstance(self.scores, Mapping):
            raise PresetError(f"scores of the preset are {self.scores!r}: expected a mapping by metric")
        object.__setattr__(self, "scores", {name: _score(name, score) for name, score in self.scores.items()})


def render(preset: Preset, format: str) -> str:
    """The preset as text in a format of FORMATS.

    Raises:
        PresetError: the format can't honour this preset.
        UserError: no such format.
    """
    if format not in FORMATS:
        raise configs.unknown("preset format", format, FORMATS)
    return import_module(f".{format}", __name__).render(preset)


def write(preset: Preset, path: Path | str, format: str) -> None:
    """Writes the preset; the file is there whole or not at all.

    Raises:
        PresetError, UserError: see `render`; the file can't be written.
    """
    text = render(preset, format)
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
    except (OSError, ValueError) as error:
        raise UserError(f"can't write {path}: {error}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.chmod(name, 0o644)  # a temporary file is its owner's alone
        os.replace(name, path)
    except OSError as error:
        raise UserError(f"can't write {path}: {error}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def read(path: Path | str) -> Preset:
    """The preset of a YAML file that `write` made.

    Raises:
        PresetError, UserError: it can't be read, or a key or value in it is wrong.
    """
    return import_module(".yaml", __name__).read(Path(path))


def refuse_controls(preset: Preset, tool: str) -> None:
    """PresetError where the preset sets a control, of which `tool` has none."""
    controls = preset.factors.controls.as_dict()
    if controls:
        raise PresetError(
            f"{tool} has the four factors alone, and this preset sets {', '.join(controls)} besides: choose another "
            'pick; in Python, use --format yaml and freeu.enable(pipe, "FILE")'
        )


def _score(metric: Any, score: Any) -> dict[str, float | int | None]:
    if not isinstance(metric, str) or not isinstance(score, Mapping):
        raise PresetError(f"score {metric!r} of the preset is {score!r}: expected a mapping")
    for key, value in score.items():
        if key not in SCORE_KEYS:
            raise PresetError(str(configs.unknown(f"key of score {metric}", key, SCORE_KEYS)))
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise PresetError(f"{key} of score {metric} is {value!r}: expected a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise PresetError(f"{key} of score {metric} is {value}: leave out what is not known")
    if score.get("value") is None:
        raise PresetError(f"score {metric} of the preset has no value")
    return dict(score)
