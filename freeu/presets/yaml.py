"""The project's own format: all that a preset holds, for people to read and `freeu.presets.read` to load."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

import configs
from configs import UserError, quoted
from freeu.factors import Factors
from freeu.sampling import NAMES, Sampling

from .preset import Preset, PresetError

MARK, VERSION = "freeu_preset", 1
KEYS = (MARK, *(field.name for field in fields(Preset)))
SAMPLING = NAMES
FILE = "freeu.yaml"
PLACE = 'for this project: `freeu.applied(pipe.unet, "FILE")`, `freeu.enable(pipe, "FILE")`, `search.run --from FILE`'
BY_HAND = (
    "by hand, a preset reads {freeu_preset: 1, model: sdxl, factors: {version: v2, stages: width, "
    "b1: 1.3, b2: 1.4, s1: 0.9, s2: 0.2}}"
)
HEAD = """\
# FreeU factors, with what they scored. Under another version or stage convention they are another method.
#   with freeu.applied(pipe.unet, "THIS FILE"): ...
#   freeu.enable(pipe, "THIS FILE")
"""


class _Dumper(yaml.SafeDumper):
    """Quotes text with line breaks and other invisible signs, which PyYAML would write bare."""


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    style = None if value.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def render(preset: Preset) -> str:
    """The YAML text; unknown fields are left out."""
    found: dict[str, Any] = {MARK: VERSION}
    for key in KEYS[1:]:
        value = getattr(preset, key)
        found[key] = value.as_dict() if isinstance(value, Factors | Sampling) else value
    kept = {key: value for key, value in found.items() if value not in (None, "", {}) or key == "model"}
    return HEAD + yaml.dump(kept, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**6)


def read(file: Path) -> Preset:
    """The preset of a file; see `freeu.presets.read`."""
    found = configs.read_yaml(file)
    if MARK in found and found[MARK] != VERSION:
        raise PresetError(f"{file} is no preset of version {VERSION}: its line '{MARK}' says {quoted(found[MARK])}")
    factors = found.get("factors", {})
    if not isinstance(factors, dict):
        raise PresetError(f"{file}: factors are {quoted(factors)}: expected b1, b2, s1, s2, version and stages")
    needed = [(key, found) for key in (MARK, "model", "factors")] + [(key, factors) for key in ("version", "stages")]
    if missing := [key for key, place in needed if key not in place]:
        raise PresetError(f"{file} lacks {', '.join(missing)}, without which factors mean nothing: {BY_HAND}")
    for key in found:
        if key not in KEYS:
            raise PresetError(f"{file}: {configs.unknown('key', key, KEYS)}")
    del found[MARK], found["factors"]
    try:
        sampling = Sampling.from_dict(found.pop("sampling", {}))
        return Preset(factors=Factors.from_dict(factors), sampling=sampling, **found)
    except UserError as error:
        raise PresetError(f"{file}: {error}") from error
