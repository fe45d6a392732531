"""What a page of two studies shows: their verdicts, the differences between their picks of the same name, and those
picks' images side by side on the prompts that both have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.reporting import pair_cards
from search.reporting.pair_cards import Pairing
from search.reporting.study_comparison import KEYS, Side, candidates, compared, side
from search.storage import StudyFolder
from search.study.held_out import BASE
from search.study.verdict import COUNTS
from search.terminal.study_status import finished
from search.voting import booth, wording

if TYPE_CHECKING:
    import pandas as pd

REST = 1e5  # characters of a page without its images


def sections(
    a: StudyFolder, b: StudyFolder, room: float = 14e6, files: str | None = None
) -> tuple[dict[str, Any], dict[str, Path]]:
    """(the template's variables, the files that go beside the page); room, files: as for a report of one study.

    Raises UserError where the two don't compare.
    """
    one, two = side(a), side(b)
    found = compared(one, two)
    for row in found["rows"]:
        row["error"] = None if row["low"] is None else (row["high"] - row["low"]) / 4
        gain = row["difference"] if row["direction"] == "up" else -row["difference"]
        row["kind"] = "unclear" if not row["counts"] else "better" if gain > 0 else "worse"
    studies = []
    for name, folder in zip("ab", (a, b), strict=True):
        result = finished(folder)
        verdicts = wording.verdicts(result, booth.told(folder, result))
        studies.append({"letter": name.upper(), **found[name], "verdicts": verdicts})
    names = list(dict.fromkeys(row["candidate"] for row in found["rows"]))
    pairings = _pairings((a, b), (one, two), names, found["paired"])
    table = pairings[0].left.table
    directions = {name: way for name, way in one.directions.items() if name in table and name in two.tables[None]}
    cards = pair_cards.cards(pairings, directions, _opened(pairings), room, files)
    variables = {
        "studies": studies,
        "rows": found["rows"],
        "note": found["note"],
        "counts": COUNTS,
        "paired": found["paired"],
        "prompts": len(table),
        "data": {
            "pairs": cards.data,
            "tables": {"differences": found["rows"], "held-out": _rows(pairings, directions)},
        },
    }
    return variables, cards.beside


def _pairings(
    folders: tuple[StudyFolder, StudyFolder], studies: tuple[Side, Side], names: list[str], paired: bool
) -> list[Pairing]:
    """B's candidate of each name beside A's."""
    keys = KEYS if paired else KEYS[:1]
    base = [study.tables[None].drop_duplicates(keys) for study in studies]
    shared = base[0].merge(base[1], on=keys)[keys]
    matched = candidates(*studies)
    found = []
    for key, name in enumerate(names):
        sides = []
        for letter, folder, study, number in zip("ab", folders, studies, matched[name], strict=True):
            rows = study.tables[number].reset_index(names="row").drop_duplicates(keys)
            table = shared.merge(rows, on=keys, how="left")
            kept_as = BASE if number is None else f"{number:04d}"
            label = f"{letter.upper()}: {name if number is None else f'{name} (trial {number})'}"
            files = partial(_file, folder, kept_as, table["row"])
            place = f"{letter}/{kept_as}"
            sides.append(pair_cards.Side(place, label, place, table, files))
        found.append(Pairing(str(key), name, *sides))
    return found


def _file(folder: StudyFolder, name: str, rows: pd.Series, row: int) -> Path:
    return folder.held_out_image(name, int(rows[row]))


def _opened(pairings: list[Pairing]) -> str:
    """The first that is no baseline."""
    return next((each.key for each in pairings if not each.name.startswith(BASE)), pairings[0].key)


def _rows(pairings: list[Pairing], directions: Mapping[str, str]) -> list[dict[str, Any]]:
    """The held-out scores that are compared, one row for each prompt."""
    sides = {side.label: side.table for each in pairings for side in (each.left, each.right)}
    first = pairings[0].left.table
    return [
        {
            "prompt": str(first["prompt"][row]),
            **{f"{name}, {who}": float(table[name][row]) for name in directions for who, table in sides.items()},
        }
        for row in range(len(first))
    ]
