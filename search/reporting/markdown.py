"""Text of a stranger's study in Markdown: shown as it is, never obeyed. A function for each place it can stand in."""

from __future__ import annotations

import re

from configs.cli import visible

LONGEST = 100
"""Characters of a name between backticks."""


def plain(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$@-])", r"\\\1", visible(text))


def code(name: str) -> str:
    """A name between backticks, none of its own among them."""
    return f"`{visible(name).replace('`', '')[:LONGEST]}`"


def fenced(text: str, language: str) -> list[str]:
    """Lines of a block of code; its fence is longer than any row of backticks in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return [f"{fence}{language}", *map(visible, text.split("\n")), fence]
