"""Forge's own list of FreeU presets, freeu_presets.py: version 2 by width, with a start and an end.

Forge acts from `start` to `end` with the last step counted as 1, ours before `stop` with the last step below 1: the two
may differ by one step at either end.
"""

from __future__ import annotations

import ast

from .preset import Preset, PresetError
from .tool import Tool, found

TOOL = Tool(
    "Forge's FreeU", versions=("v2",), stages=("width",), controls=("start", "stop"), b=(0, 2), s=(0, 4)
)  # fmt: skip
FILE = "freeu_presets.py"
PLACE = (
    "Forge's main folder, beside `webui.py`; with `--out` on the file that is there, the preset is added to its list"
)
HEAD = "# FreeU presets of Forge: name, b1, b2, s1, s2, start, end.\n"
LIST = "presets_custom"
Row = tuple[str, float, float, float, float, float, float]


def render(preset: Preset) -> str:
    """A Python module with one list.

    Raises:
        PresetError: Forge can't hold these factors.
    """
    return _module([row(preset)])


def merge(preset: Preset, text: str) -> str:
    """The list with the preset added, or put in the place of the one of its title."""
    new, rows = row(preset), _rows(text)
    if rows is None:
        raise PresetError(f"this holds more than the list {LIST}: add {new!r} to it by hand, or give another --out")
    return _module([*(each for each in rows if each[0] != new[0]), new])


def row(preset: Preset) -> Row:
    """(title, b1, b2, s1, s2, start, end)."""
    TOOL.check(preset.factors)
    f = preset.factors
    return preset.title, f.b1, f.b2, f.s1, f.s2, f.controls.start, f.controls.stop


def parse(text: str) -> dict[str, Preset]:
    """The presets of the list by their names; the code is not run."""
    rows = _rows(text) if LIST in text else None
    return {each[0]: read(each[1:]) for each in rows or []}


def read(values: tuple[float, ...] | list[float]) -> Preset:
    """The preset of b1, b2, s1, s2, start and end."""
    b1, b2, s1, s2, start, stop = values
    return found({"b1": b1, "b2": b2, "s1": s1, "s2": s2}, "v2", "width", start=start, stop=stop)


def _module(rows: list[Row]) -> str:
    return HEAD + f"{LIST} = [\n" + "".join(f"    {each!a},\n" for each in rows) + "]\n"


def _rows(text: str) -> list[Row] | None:
    """What the list holds; None where the text is anything else than that one list."""
    try:
        body = ast.parse(text).body
        if not body:
            return []
        (only,) = body
        if not isinstance(only, ast.Assign) or [ast.unparse(each) for each in only.targets] != [LIST]:
            return None
        rows = ast.literal_eval(only.value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    fits = isinstance(rows, list) and all(isinstance(each, tuple) and len(each) == 7 for each in rows)
    return rows if fits and all(isinstance(each[0], str) for each in rows) else None
