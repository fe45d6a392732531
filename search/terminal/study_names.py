"""Finds studies by name, and completes their names in the shell."""

from __future__ import annotations

from pathlib import Path

import typer

import configs
from configs import UserError
from configs.cli import python
from search.storage.study_folder import StudyFolder, studies


def find_study(mlruns: Path, name: str) -> StudyFolder:
    """The folder of a study. Raises UserError, with the nearest name, where there is none."""
    known = studies(mlruns)
    if not known:
        raise UserError(
            f"{mlruns} holds no study: run `{python()} -m search.run` first, or give another folder with --mlruns"
        )
    if name not in known:
        raise configs.unknown("study", name, known)
    return StudyFolder(mlruns, name)


def complete(context: typer.Context, incomplete: str) -> list[str]:
    """What the shell offers for a study's name: those of --mlruns, where that stands before it."""
    mlruns = context.params.get("mlruns") or Path("mlruns")
    return [name for name in studies(mlruns) if name.startswith(incomplete)]
