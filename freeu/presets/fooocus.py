"""Fooocus' metadata: version 2 by width, as a tuple in text."""

from __future__ import annotations

import ast

from . import jsons
from .preset import Preset, PresetError
from .tool import NUMBERS, Tool, found, numbers

TOOL = Tool("Fooocus' FreeU", versions=("v2",), stages=("width",), b=(0, 2), s=(0, 4))
FILE = "fooocus.json"
PLACE = "paste it into the prompt field of Fooocus and press *Load Parameters*; FreeU is under *Developer Debug Mode*"


def render(preset: Preset) -> str:
    """JSON with the key `freeu`. Raises PresetError: Fooocus can't hold these factors."""
    TOOL.check(preset.factors)
    return jsons.written({"freeu": repr(tuple(numbers(preset).values()))})


def parse(text: str) -> dict[str, Preset]:
    """The factors of Fooocus' metadata."""
    value = jsons.mapping(text).get("freeu")
    return {"": read(value)} if isinstance(value, str) else {}


def read(value: str, model: str = "") -> Preset:
    """The preset of "(b1, b2, s1, s2)"."""
    try:
        numbers = ast.literal_eval(value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        numbers = None
    if not isinstance(numbers, tuple) or len(numbers) != 4:
        raise PresetError(f"freeu is {value!r}: expected (b1, b2, s1, s2)")
    return found(dict(zip(NUMBERS, numbers, strict=True)), "v2", "width", model)
