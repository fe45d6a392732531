"""Finds studies by name, and completes their names in the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import configs
from configs import UserError, shortened
from configs.cli import typed
from search.storage import StudyFolder, studies


def find_study(mlruns: Path, name: str) -> StudyFolder:
    """The folder of a study. Raises UserError, with the nearest name, where there is none."""
    known = studies(mlruns)
    if not known:
        raise UserError(f"{mlruns} holds no study: run `{typed('run')}` first, or give another folder with --mlruns")
    if name not in known:
        raise configs.unknown("study", name, known)
    return StudyFolder(mlruns, name)


def chosen(mlruns: Path, name: str | None, study: str | None) -> StudyFolder:
    """The folder of the study that a command names, as an argument or by --study; where it names none, of the only
    study. Raises UserError."""
    if name is not None and study is not None and name != study:
        raise UserError(f"the study is named twice, '{name}' and --study {study}: give one")
    asked, known = name or study, studies(mlruns)
    if asked is None and len(known) > 1:
        raise UserError(f"there are {len(known)} studies: name one of {shortened(', '.join(known))}")
    return find_study(mlruns, asked or next(iter(known), ""))


def complete(context: typer.Context, incomplete: str) -> list[str]:
    """What the shell offers for a study's name: those of --mlruns, where that stands before it."""
    mlruns = context.params.get("mlruns") or Path("mlruns")
    return [name for name in studies(mlruns) if name.startswith(incomplete)]


Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="The study's name (default: the only one).", autocompletion=complete),
]
Study = Annotated[str | None, typer.Option(metavar="NAME", help="The same as an option.", autocompletion=complete)]
"""A study's name, as every command takes it."""
