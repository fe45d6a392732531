"""The scene that a caption names: `freeu.shapes.caption` read backwards, so that a prompt says what to look for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .caption import BACKDROP_WORDS, BACKWARD, FILL_WORDS, FORWARD, ROW, SIZE_WORDS
from .scene import COLOURS, SHAPES, TONES, Item, Scene


def _any(words: object) -> str:
    return "|".join(sorted(map(re.escape, filter(None, words)), key=len, reverse=True))  # type: ignore[call-overload]


def _by_word(words: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Each wording → what it means; "" for what may be left out."""
    return {word: meaning for meaning, wordings in words.items() for word in wordings}


SIZE, FILL, BACKDROP = (_by_word(words) for words in (SIZE_WORDS, FILL_WORDS, BACKDROP_WORDS))
ONWARD, BACK = _by_word(FORWARD), _by_word(BACKWARD)
IN_A_ROW = {words: relation for relation, words in ROW.items()}
ITEM = re.compile(f"a ({_any(SIZE)}) (?:({_any(FILL)}) )?({_any(COLOURS)}) ({_any(SHAPES)})")
BEHIND = re.compile(f"(?P<what>.+) on a ({_any(TONES)}) (?:({_any(BACKDROP)}) )?background")
BETWEEN = re.compile(f" ({_any((*ONWARD, *BACK))}) ")
ROWS = re.compile(f" ({_any(IN_A_ROW)})$")


def scene_of(prompt: str) -> Scene | None:
    """The scene that a prompt of this grammar names, without places; None for other words."""
    found = BEHIND.fullmatch(prompt.strip())
    if found is None:
        return None
    tone, backdrop, what = found[2], BACKDROP[found[3] or ""], found["what"].removeprefix("a picture of ")
    row = ROWS.search(what)
    if row is not None:
        parts, relation = re.split(", | and ", what[: row.start()]), IN_A_ROW[row[1]]
    else:
        parts = BETWEEN.split(what)
        word = parts.pop(1) if len(parts) == 3 else ""
        relation = ONWARD.get(word) or BACK.get(word) or "alone"
        parts = parts[::-1] if word in BACK else parts
    items = [_item(part) for part in parts]
    fits = len(items) == 3 if row is not None else len(items) == (1 if relation == "alone" else 2)
    if not fits or not all(items):
        return None
    return Scene(tuple(item for item in items if item is not None), relation, tone, backdrop)


def _item(words: str) -> Item | None:
    found = ITEM.fullmatch(words)
    if found is None:
        return None
    size, fill, colour, shape = found.groups()
    return Item(shape, colour, SIZE[size], FILL[fill or ""], 0.0, 0.0, 0.0)
