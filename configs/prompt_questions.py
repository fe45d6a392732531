"""The questions that a prompt set brings for a prompt: a column `questions`, or what GenEval says is to be seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import UserError, quoted

COLUMN = "questions"
GENEVAL = "include"
"""GenEval's (Ghosh et al., arXiv 2310.11513): a list of {class, count, color, position: [relation, place]}."""


def questions_of(cells: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Those of a table's row, in order; none where it brings none. cells: by column, in small letters. where: for
    errors.

    Raises:
        UserError: they are no text and no list of texts.
    """
    found = cells.get(COLUMN)
    if found:
        if isinstance(found, str):  # of a table: one behind the other
            return tuple(part.strip() for part in re.findall(r"[^?]+\??", found) if part.strip(" ;|,?"))
        if isinstance(found, list) and all(isinstance(each, str) and each.strip() for each in found):
            return tuple(each.strip() for each in found)
        raise UserError(f"{where}: the questions are {quoted(found)}: a text or a list of texts is expected")
    include = cells.get(GENEVAL)
    if not isinstance(include, list) or not all(isinstance(each, Mapping) and "class" in each for each in include):
        return ()
    return tuple(question for each in include for question in _seen(each, include))


def _seen(each: Mapping[str, Any], include: list[Mapping[str, Any]]) -> list[str]:
    """What GenEval's detector would look for, of one kind of object."""
    name, count = str(each["class"]), each.get("count", 1)
    many = isinstance(count, int) and count > 1
    found = [f"Are there exactly {count} {name}s in the image?" if many else f"Is there a {name} in the image?"]
    if each.get("color"):
        found.append(f"Is the {name} {each['color']}?")
    position = each.get("position")
    if isinstance(position, list) and len(position) == 2 and position[1] in range(len(include)):
        found.append(f"Is the {name} {position[0]} the {include[position[1]]['class']}?")
    return found
