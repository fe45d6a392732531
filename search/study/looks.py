"""When a confirmation looks at what it has drawn, and what error it may make.

A study's confirmations share one error of 0.05. The first has four fifths of it, each later one (of a study that went
on with more trials, and has other finalists) half of what is left, on seeds that no earlier one saw: so any false star,
over all of them, stays as rare. Within one, each look spends a part (`metrics.sequential`). The plan is made once and
kept with the study, so a killed or shared confirmation keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freeu import Candidate

LEVEL = 0.05
"""The chance of any false star in a study."""
FIRST = 0.8
"""Share of it that is the first confirmation's."""
LOOKS = 4
SEEDS = 4
"""Of each prompt, at most: images of one prompt are alike, so more of them tell little."""
FEWEST = 16
"""Rows of a look, where it is not the last one."""
LEAST = 48
"""Held-out prompts that are drawn however small the search was, where there are so many."""


@dataclass(frozen=True)
class Looks:
    """Of one confirmation. number: from 1. ends: the rows (a prompt with a seed) that each look has, rising."""

    number: int
    ends: tuple[int, ...]

    @property
    def level(self) -> float:
        """The chance of any false star in it."""
        return LEVEL * (FIRST if self.number == 1 else (1 - FIRST) / 2 ** (self.number - 1))

    @property
    def times(self) -> tuple[float, ...]:
        """The share of all rows that each look has."""
        return tuple(end / self.ends[-1] for end in self.ends)


def least(prompts: int, candidates: int, images: int, given: int | None = None) -> int:
    """The prompts that a confirmation draws once at least. prompts: held out. candidates: drawn on each. images: of the
    search. given: as a user asked for them, if at all: then all are drawn.
    """
    return prompts if given is not None else min(prompts, max(LEAST, images // candidates))


def ends(least: int, prompts: int, candidates: int, images: int) -> tuple[int, ...]:
    """The rows at each look. least: that are drawn in any case. images: how many the confirmation may take."""
    rows = min(max(least, images // candidates), SEEDS * prompts)
    early = (round(rows * look / LOOKS) for look in range(1, LOOKS))
    return (*sorted({end for end in early if FEWEST <= end < rows}), rows)


def planned(
    kept: Callable[[str], Any],
    once: Callable[[str, Callable[[], Any]], Any],
    candidates: Mapping[int, Candidate],
    rows: Sequence[int],
) -> Looks:
    """The study's last confirmation where it was of these candidates, else its next one, with these rows.

    kept: what the study has under a key, None for nothing. once: the same, made where there is nothing.
    """
    mine = json.dumps([[number, each.as_dict()] for number, each in candidates.items()], sort_keys=True)
    following = next(number for number in count(1) if kept(_key(number)) is None)
    for number in count(max(1, following - 1)):
        found = once(_key(number), lambda: {"finalists": mine, "ends": list(rows)})
        if found["finalists"] == mine:
            break
    return Looks(number, tuple(found["ends"]))


def _key(number: int) -> str:
    return f"confirmation {number}"
