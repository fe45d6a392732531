"""The confirmation's per-image scores: each pick and the baseline on the same held-out prompts and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from search.reporting.pair_cards import Pairing, Side
from search.storage import StudyFolder
from search.study.held_out import BASE

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 6
"""Prompts of a category for an interval: with fewer there are too few sign flips."""


@dataclass(frozen=True)
class Pairs:
    """Tables of one order of prompts; columns prompt, category, seed, and the per-image objectives.

    directions: of those objectives. picks: by trial number, with the names that each was picked by.
    """

    base: pd.DataFrame
    picks: dict[int, pd.DataFrame]
    names: dict[int, str]
    directions: dict[str, str]

    def pairings(self, folder: StudyFolder) -> list[Pairing]:
        """Each pick beside the baseline."""

        def side(key: str, label: str, name: str, table: pd.DataFrame) -> Side:
            return Side(key, label, name, table, lambda row: folder.held_out_image(name, row))

        base = side("base", BASE, BASE, self.base)
        found = []
        for number, table in self.picks.items():
            label = f"{self.names[number]} (trial {number})"
            found.append(Pairing(str(number), label, base, side(str(number), label, f"{number:04d}", table)))
        return found


def read(folder: StudyFolder, result: Mapping[str, Any]) -> Pairs | None:
    """The pairs of a finished study; None where no pick was confirmed, or by a version that kept no images."""
    base = folder.read_held_out(BASE)
    if base is None:
        return None
    picks, names = {}, {}
    for number in dict.fromkeys(pick["number"] for pick in result["picks"] if pick["scores"]):
        table = folder.read_held_out(f"{number:04d}")
        if table is not None and table[["prompt", "seed"]].equals(base[["prompt", "seed"]]):
            picks[number] = table
            names[number] = " = ".join(pick["pick"] for pick in result["picks"] if pick["number"] == number)
    directions = {name: way for name, way in result["objectives"].items() if name in base}
    return Pairs(base, picks, names, directions) if picks else None


def by_category(pairs: Pairs) -> list[dict[str, Any]]:
    """A row for each pick, category and objective: pick, category, objective, n, difference, low and high (95 %) and
    error (None below 6 prompts), win_rate. Nothing where the prompts have no categories."""
    from metrics import stats

    rows: list[dict[str, Any]] = []
    categories = pairs.base["category"].to_numpy()
    if not any(categories):
        return rows
    for number in pairs.picks:
        for category in dict.fromkeys(categories):
            here = categories == category
            for name in pairs.directions:
                a, b = (table[name].to_numpy()[here] for table in (pairs.picks[number], pairs.base))
                found = stats.paired(a, b, _prompts(pairs, here), np.random.default_rng(0))
                sure = found.clusters >= FEWEST
                rows.append(
                    {
                        "pick": pairs.names[number],
                        "category": category,
                        "objective": name,
                        "n": found.n,
                        "difference": found.mean,
                        "low": found.low if sure else None,
                        "high": found.high if sure else None,
                        "error": (found.high - found.low) / 4 if sure else None,
                        "win_rate": found.win_rate if pairs.directions[name] == "up" else 1 - found.win_rate,
                    }
                )
    return rows


def _prompts(pairs: Pairs, here: np.ndarray) -> Sequence[str]:
    return list(pairs.base["prompt"].to_numpy()[here])
