"""SD.Next's options of FreeU: diffusers' FreeU, so version 1 with stages by block, and no factor of 0."""

from __future__ import annotations

import re

from . import jsons
from .preset import Preset
from .tool import NUMBERS, Tool, found, numbers

TOOL = Tool("SD.Next's FreeU", versions=("v1",), stages=("block",), b=(1, 2), s=(0, 1), zero=False)
FILE = "sdnext.json"
PLACE = (
    "send it to `/sdapi/v1/options` of SD.Next, or, while SD.Next is not running, give `--out` on its `config.json`, "
    "into which it is merged"
)


def render(preset: Preset) -> str:
    """JSON of five options. Raises PresetError: SD.Next can't hold these factors."""
    return jsons.written(_options(preset))


def merge(preset: Preset, text: str) -> str:
    """The options with FreeU's among them."""
    return jsons.written(jsons.existing(text, "config.json of SD.Next") | _options(preset))


def parse(text: str) -> dict[str, Preset]:
    """The factors of options, also where FreeU is switched off."""
    options = jsons.mapping(text)
    values = {name: options[f"freeu_{name}"] for name in NUMBERS if f"freeu_{name}" in options}
    return {"": found(values, "v1", "block")} if values else {}


def of_infotext(value: str, model: str) -> Preset | None:
    """The preset of "b1=1.2 b2=1.4 s1=0.9 s2=0.2"; None where it is something else."""
    values = dict(re.findall(r"\b([bs][12])=([\d.e+-]{1,30})", value))
    try:
        numbers = {name: float(each) for name, each in values.items()}
    except ValueError:
        return None
    return found(numbers, "v1", "block", model) if len(numbers) == len(NUMBERS) else None


def _options(preset: Preset) -> dict[str, float | bool]:
    TOOL.check(preset.factors)
    return {"freeu_enabled": True, **numbers(preset, "freeu_")}
