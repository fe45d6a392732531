"""What is said when a choice or a file is wrong: the root of the project's exceptions, and how much of it is quoted."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

LONGEST = 200
"""Characters of what an error quotes: a file of somebody else's may hold megabytes in one value."""
MOST = 1000
"""Names that are looked through for the nearest, and characters of the list that is shown."""


class UserError(Exception):
    """Root of the project's exceptions: something that the user can mend.

    The message is complete: what was wrong, the value, the fix. Commands print it and end with exit code 2.
    """


def shortened(text: str, length: int = LONGEST) -> str:
    """A text of at most `length` characters: a longer one ends in "…"."""
    return text if len(text) <= length else text[: length - 1] + "…"


def quoted(value: Any) -> str:
    """A value as Python writes it, for an error: at most LONGEST characters."""
    return shortened(repr(shortened(value) if isinstance(value, str) else value))


def unknown(kind: str, name: str, known: Iterable[str], meant: str | None = None) -> UserError:
    """The error for a name that doesn't exist, with the nearest one that does, or the one that is `meant`."""
    names, name = sorted(known), shortened(str(name))
    some = [shortened(each) for each in names[:MOST]]
    near = difflib.get_close_matches(name, some, n=1, cutoff=0.5) if meant is None else [meant]
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UserError(f"unknown {kind} '{name}': {hint}known: {shortened(', '.join(some), MOST) or 'none'}")
