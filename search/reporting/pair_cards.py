"""Pairs of images for the scripts of a page (`templates/pairs.js`): prompts, images within a budget, scores, files.

A pairing is two candidates on the same rows, the one on the right told by its difference to the one on the left: a pick
beside the baseline, or one study's pick beside another's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.cli import visible
from search.reporting import embedded_images
from search.storage.image_grid import is_image, preview_file

if TYPE_CHECKING:
    import pandas as pd

MOST = 64  # prompts shown with images; of more, those that gain or lose most
LARGE = 7 / 15
"""Of the images' room: the four pairs of each pairing; the rest is the other prompts'."""


@dataclass(frozen=True)
class Side:
    """A candidate. key: its name in the page. label: as people read it. place: its folder beside the page.

    table: per-image scores (n rows), with columns prompt, seed and category. file: row → its image at full size.
    """

    key: str
    label: str
    place: str
    table: pd.DataFrame
    file: Callable[[int], Path]


@dataclass(frozen=True)
class Pairing:
    """Two candidates, their tables of one order of prompts. key, name: its own, in the page and as people read it."""

    key: str
    name: str
    left: Side
    right: Side

    def gains(self, directions: Mapping[str, str]) -> list[np.ndarray]:
        """By objective (n,), by how much each prompt's image is better on the right; below 0 it is worse."""
        signs = [1 if way == "up" else -1 for way in directions.values()]
        tables = self.right.table, self.left.table
        right, left = ([table[name].to_numpy() for name in directions] for table in tables)
        return [(b - a) * sign for a, b, sign in zip(left, right, signs, strict=True)]


@dataclass(frozen=True)
class Cards:
    """data: for the scripts. beside: path in a folder beside the page → the file at its full size, of what the page
    holds smaller, or still, as a video."""

    data: dict[str, Any]
    beside: dict[str, Path]


def cards(
    pairings: Sequence[Pairing], directions: Mapping[str, str], opened: str, room: float, folder: str | None
) -> Cards:
    """directions: of per-image objectives. opened: the key of the pairing that is shown first. room: characters that
    images may take. folder: the address, from the page, of the one that `beside` goes to; None for a page alone."""
    four = {each.key: largest(each.gains(directions), len(each.left.table)) for each in pairings}
    featured = sorted({row for each in four.values() for row, _ in each})
    sides = {side.key: side for each in pairings for side in (each.left, each.right)}
    table = pairings[0].left.table
    gains = [gain for each in pairings for gain in each.gains(directions)]
    rows = extremes(gains, len(table), MOST, featured)
    files = {f"{key}/{row}": side.file(row) for row in rows for key, side in sides.items()}
    places = {f"{key}/{row}": side.place for row in rows for key, side in sides.items()}
    # All of a row at one size: else what is seen as a difference would be one of sizes.
    first = {name: file for name, file in files.items() if int(name.rpartition("/")[2]) in featured}
    others = {name: _preview(file) for name, file in files.items() if name not in first}
    images, smaller = dict[str, str](), dict[str, str]()
    for shown, share in ((first, LARGE), (others, 1 - LARGE)):
        images |= embedded_images.embedded(shown, int(room * share))
        whole = embedded_images.fit(shown, int(room * share))
        linked = [name for name in shown if not (whole and shown[name] == files[name]) and is_image(files[name])]
        smaller |= {name: f"{places[name]}/{files[name].name}" for name in linked if folder is not None}
    data = {
        "pairings": [
            {"key": each.key, "name": visible(each.name), "left": each.left.key, "right": each.right.key}
            for each in pairings
        ],
        "labels": {key: visible(side.label) for key, side in sides.items()},
        "opened": opened,
        "four": four,
        "files": {name: f"{folder}/{path}" for name, path in smaller.items()},
        "directions": dict(directions),
        "rows": [
            {
                "row": row,
                "prompt": visible(str(table["prompt"][row])),
                "category": visible(str(table["category"][row])),
                "seeds": list(dict.fromkeys(int(side.table["seed"][row]) for side in sides.values())),
                "scores": {
                    key: {name: float(side.table[name][row]) for name in directions} for key, side in sides.items()
                },
            }
            for row in rows
        ],
        "images": images,
    }
    return Cards(data, {path: files[name] for name, path in smaller.items()})


def largest(gains: Sequence[np.ndarray], n: int) -> list[tuple[int, str]]:
    """(row, what it is) of the largest gain, the largest loss and two typical ones, each row once: by the mean over
    objectives of the gain in its standard deviations. Fewer where there are fewer than four rows."""
    whole = np.mean([gain / (gain.std() or 1.0) for gain in gains], axis=0) if gains else np.zeros(n)
    typical = np.argsort(np.abs(whole - np.median(whole)), kind="stable")
    named = [*dict([(int(whole.argmax()), "largest gain"), (int(whole.argmin()), "largest loss")]).items()]
    taken = {row for row, _ in named}
    return [*named, *((int(row), "typical") for row in typical if int(row) not in taken)][:4]


def extremes(gains: Sequence[np.ndarray], n: int, most: int, first: Sequence[int] = ()) -> list[int]:
    """The rows of n that gain or lose most, as many of each for every gain (n,), in their order; `most` at most.
    first: rows that are among them in any case."""
    if n <= most:
        return list(range(n))
    orders = [np.argsort(gain) for gain in gains]
    ranked = [order[::way] for order in orders for way in (1, -1)] or [np.arange(n)]
    found: dict[int, None] = dict.fromkeys(first)
    for row in np.stack(ranked, axis=1).ravel():
        if len(found) >= most:
            break
        found[int(row)] = None
    return sorted(found)


def _preview(file: Path) -> Path:
    """The smaller one of a large image."""
    small = preview_file(file)
    return small if small.is_file() else file
