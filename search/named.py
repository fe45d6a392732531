"""Studies by their names: found, completed by the shell, and printed without harm."""

from __future__ import annotations

import re
from pathlib import Path

import typer

import configs
from configs import UserError
from search.records import StudyFolder, studies

UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of writing, and halves of a pair: they steer what shows them."""


def find_study(mlruns: Path, name: str) -> StudyFolder:
    """The folder of a study. Raises UserError, with the nearest name, where there is none."""
    known = studies(mlruns)
    if not known:
        raise UserError(f"{mlruns} holds no study yet: run `python -m search.run` first, or name another with --mlruns")
    if name not in known:
        raise configs.unknown("study", name, known)
    return StudyFolder(mlruns, name)


def complete(context: typer.Context, incomplete: str) -> list[str]:
    """What the shell offers for a study's name: those of --mlruns, where that stands before it."""
    mlruns = context.params.get("mlruns") or Path("mlruns")
    return [name for name in studies(mlruns) if name.startswith(incomplete)]


def visible(text: str) -> str:
    """A text whose control characters are seen and not obeyed: a line break is "\\n", in two characters."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
