"""What is voted on: each finalist against each candidate that it is confirmed against, by prompt and seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError
from configs.cli import typed
from search.settings.fingerprints import digest
from search.storage import StudyFolder
from search.storage.image_grid import is_image
from search.study import rival
from search.study.held_out import BASE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Comparison:
    """A finalist against another candidate. label, other: the two, as people read them.

    tables: the held-out scores of the two, finalist first, of one order of prompts. rows: those whose two images are
    there.
    """

    finalist: str
    against: str
    label: str
    other: str
    tables: tuple[pd.DataFrame, pd.DataFrame]
    rows: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.finalist}/{self.against}"

    @property
    def prompts(self) -> int:
        """How many prompts can be voted on."""
        return len(set(self.tables[0]["prompt"].iloc[list(self.rows)]))


def comparisons(folder: StudyFolder, result: Mapping[str, Any]) -> list[Comparison]:
    """All of a study, the most promising finalist first; empty where none was confirmed."""
    found = []
    for number in dict.fromkeys(pick["number"] for pick in result["picks"] if pick["scores"]):
        own = folder.read_held_out(name := f"{number:04d}")
        names = " = ".join(pick["pick"] for pick in result["picks"] if pick["number"] == number)
        for against, other in _comparators(number, result).items():
            table = folder.read_held_out(against)
            if own is None or table is None or not own[["prompt", "seed"]].equals(table[["prompt", "seed"]]):
                continue
            there = [
                row
                for row in range(len(table))
                if all(is_image(folder.held_out_image(each, row)) for each in (name, against))
            ]
            found.append(Comparison(name, against, f"{names} (trial {number})", other, (own, table), tuple(there)))
    return found


def _comparators(number: int, result: Mapping[str, Any]) -> dict[str, str]:
    """The held-out tables that a finalist's is compared with: name → as people read it."""
    found = {BASE: BASE}
    pick = next(pick for pick in result["picks"] if pick["number"] == number)
    if (against := rival.of_pick(pick)) is not None:
        found[f"{against['number']:04d}"] = f"rival (FreeU off at {against['named']}, trial {against['number']})"
    return found


def to_vote_on(folder: StudyFolder, result: Mapping[str, Any]) -> list[Comparison]:
    """Those with images. Raises UserError, with what to do, where there are none."""
    found = comparisons(folder, result)
    if not found:
        raise UserError(
            f"study '{folder.name}' has no finalists to vote on: no candidate was better than the baseline in the "
            "search, or none could be scored on held-out prompts"
        )
    with_images = [each for each in found if each.rows]
    if not with_images:
        raise UserError(
            f"study '{folder.name}' has no held-out images: they were deleted, another machine has them, or its scores "
            f"were taken over from another study. `{typed('run')} --no-cache` with the study's other flags "
            "and another --study draws them again"
        )
    return with_images


def stamp(folder: StudyFolder, result: Mapping[str, Any]) -> str:
    """A short name for what a study's images depend on: votes on another study's don't count."""
    kept = folder.read_settings()["fingerprint"]
    told = {name: kept.get(name) for name in ("resolution", "scheduler", "sampling", "dtype", "seed", "held_out_texts")}
    identity = [result["model_identity"], result.get("steps"), result.get("guidance"), told]
    return digest(json.dumps(identity, sort_keys=True, default=str))


def image_digest(file: Path) -> str:
    """Of a file's bytes; "" where it is not there."""
    try:
        state = file.stat()
    except OSError:
        return ""
    return _digest(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8192)
def _digest(file: Path, changed: int, size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
