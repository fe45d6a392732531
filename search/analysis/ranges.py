"""Where b and s keep the guardrails, from their sweeps: the ranges that a search may begin with.

b1 and b2 move together in the sweep, and so do s1 and s2: an end of a range is where the first guardrail is reached, a
shift of one spread between seeds (`search.evaluation.guardrails`), between two values of the sweep on a straight line.
Both ranges together are tested: images are made at the corner that is expected to be worst, and if they break a
guardrail the box is narrowed towards the baseline and tested again. A box too narrow to search is widened, and the page
says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from freeu import Factors
from freeu.factors import IDENTITY
from search.analysis.passes import NONE, OTHER_SEEDS, B, Passes, S
from search.evaluation.guardrails import NAMES
from search.evaluation.guardrails import shifts as shifts_of
from search.storage.files import replacing

if TYPE_CHECKING:
    from search.analysis.passes import Pass

RESAMPLES = 400
NARROWEST = 0.05
"""The box reaches at least so far from 1, else there would be nothing to search."""
TRIES = 3
Ends = tuple[float, float]


@dataclass(frozen=True)
class Range:
    """Of b or s. ends: as measured; below, above: their 95 % intervals by a bootstrap over prompts; stopped: what the
    lower and the upper end break, "" where the sweep itself ends there."""

    name: str
    ends: Ends
    below: Ends
    above: Ends
    stopped: tuple[str, str]


@dataclass(frozen=True)
class Suggested:
    """ranges: of b and of s, by their sweeps. box: what is suggested, with b and s moved together, its ends hundredths.
    corner: the factors (b, s) of it that were tried; worst: the guardrail that they move most, and how far, "" where
    there were no images.
    """

    ranges: tuple[Range, Range]
    box: tuple[Ends, Ends]
    corner: Ends
    worst: tuple[str, float]

    @property
    def within(self) -> bool:
        """Whether the corner keeps the guardrails."""
        return self.worst[0] != "" and abs(self.worst[1]) <= 1

    @property
    def drawn_in(self) -> bool:
        """Whether the box is narrower than the sweeps alone would have it."""
        return self.box != _box(*self.ranges)

    @property
    def widened(self) -> list[str]:
        """The ends of the box that lie beyond the measured ones, as "s 0.95"."""
        return [
            f"{each.name} {end:g}"
            for each, ends in zip(self.ranges, self.box, strict=True)
            for end, measured in zip(ends, each.ends, strict=True)
            if abs(end - 1) > abs(measured - 1) + 1e-9  # which is the rounding's own
        ]


def suggest(found: Passes, draw: Callable[[str, Factors], None], seed: int) -> Suggested:
    """The ranges. draw: adds a pass of that name to `found`."""
    rng = np.random.default_rng(seed)
    b, s = (_range(found, name, rng) for name in "bs")
    none = replace(IDENTITY, version=found.factors.version, stages=found.factors.stages)
    box = _box(b, s)
    for left in reversed(range(TRIES)):
        corner = _expected_worst(found, box)
        name = f"b {corner[0]:g} with s {corner[1]:g}"
        draw(name, replace(none, b1=corner[0], b2=corner[0], s1=corner[1], s2=corner[1]))
        worst = _worst(found, name)
        suggested = Suggested((b, s), box, corner, worst)
        if suggested.within or not left:
            break
        by = abs(worst[1]) if worst[0] else 2.0
        box = (_drawn_in(box[0], by), _drawn_in(box[1], by))
    return suggested


def save(suggested: Suggested, factors: Factors, model: str, file: Path) -> None:
    """As a YAML for `python -m search.run --space`, headed by what the box keeps and what not."""
    b, s = suggested.box
    corner = "b {:g} with s {:g}".format(*suggested.corner)
    guardrail, shift = suggested.worst
    broken = []
    if suggested.widened:
        ends = " and ".join(suggested.widened)
        broken.append(f"# Not at {ends}: widened to {NARROWEST:g} from 1, so that there is something to search.")
    if not guardrail:
        broken.append(f"# Not at {corner}: that corner gave no images.")
    elif not suggested.within:
        broken.append(f"# Not at {corner}: that corner moves {guardrail} by {shift:+.2f} spreads between seeds.")
    lines = [
        f"# Where FreeU {factors.version} by {factors.stages} keeps the guardrails of {model}, by search.figures"
        + (", but:" if broken else "."),
        *broken,
        *(f"{name}: [{low:g}, {high:g}]" for name, (low, high) in (("b1", b), ("b2", b), ("s1", s), ("s2", s))),
        f"version: {factors.version}",
        f"stages: {factors.stages}",
    ]
    with replacing(file) as temporary:
        temporary.write_text("\n".join(lines) + "\n", "utf-8")


def moved(table: Mapping[str, float]) -> tuple[str, float]:
    """The guardrail that is moved most, and how far."""
    name = max(table, key=lambda each: abs(table[each]))
    return name, table[name]


def _worst(found: Passes, name: str) -> tuple[str, float]:
    if name not in found.made:
        return "", math.inf
    return moved(_shifts(found, found.made[name]))


def _shifts(found: Passes, one: Pass) -> dict[str, float]:
    return shifts_of(one.table, found.made[NONE].table, found.made[OTHER_SEEDS].table)


def _range(found: Passes, name: str, rng: np.random.Generator) -> Range:
    sweep = found.swept(name)
    values = np.array([value for value, _ in sweep])
    measures = np.stack([each.table[list(NAMES)].to_numpy() for _, each in sweep])  # (values, prompts, measures)
    base = measures[list(values).index(1.0)]
    again = found.made[OTHER_SEEDS].table[list(NAMES)].to_numpy()
    # A value that gave no image is out of bounds: the sweep ends before it.
    tried = (*(B if name == "b" else S), 1.0)
    ends, stopped = [], []
    resampled = rng.integers(len(base), size=(RESAMPLES, len(base)))
    intervals: list[Ends] = []
    for side in (-1, 1):
        own = [i for i in np.argsort(side * values) if side * (values[i] - 1) >= 0]
        lost = [each for each in tried if side * (each - 1) > 0 and each not in values]
        own = [i for i in own if not lost or side * values[i] < min(side * each for each in lost)]
        end, which = _reach(values[own], measures[own], base, again)
        ends.append(end)
        stopped.append("" if which is None else NAMES[which])
        many = [_reach(values[own], measures[own][:, rows], base[rows], again[rows])[0] for rows in resampled]
        low, high = np.quantile(many, [0.025, 0.975])
        intervals.append((float(low), float(high)))
    return Range(name, (ends[0], ends[1]), intervals[0], intervals[1], (stopped[0], stopped[1]))


def _reach(values: np.ndarray, measures: np.ndarray, base: np.ndarray, again: np.ndarray) -> tuple[float, int | None]:
    """How far one can go from values[0], which is 1, until a measure's shift is a spread; and which measure it is.

    values: (k,), away from 1. measures: (k, prompts, measures). base, again: without FreeU, under two seeds.
    """
    spread = np.sqrt(np.square(base - again).mean(0) / 2)
    shift = (measures - base).mean(1)
    shift = shift / np.maximum(spread, 1e-3 * np.abs(shift).max(0) + 1e-300)
    for before, after, here, there in zip(values, values[1:], shift, shift[1:], strict=False):
        out = np.abs(there) > 1
        if out.any():
            # On the line from `here` to `there`, the share of the way at which ±1 is crossed.
            share = np.where(out, (np.sign(there) - here) / np.where(out, there - here, 1), np.inf)
            first = int(share.argmin())
            return float(before + share[first] * (after - before)), first
    return float(values[-1]), None


def _box(b: Range, s: Range) -> tuple[Ends, Ends]:
    """By the sweeps alone."""
    (b_low, b_high), (s_low, s_high) = b.ends, s.ends
    return (_inward(b_low, -1), _inward(b_high, 1)), (_inward(s_low, -1), _inward(s_high, 1))


def _inward(end: float, side: int) -> float:
    """Rounded to a hundredth towards 1, but at least NARROWEST from it."""
    rounded = (math.floor(100 * end + 1e-9) if side > 0 else math.ceil(100 * end - 1e-9)) / 100
    return round(max(rounded, 1 + NARROWEST) if side > 0 else min(rounded, 1 - NARROWEST), 2)


def _drawn_in(ends: Ends, by: float) -> Ends:
    """Nearer to 1, by a factor and a little more: shifts grow about in line with the distance from 1."""
    low, high = (1 + (end - 1) / (1.05 * by) for end in ends)
    return _inward(low, -1), _inward(high, 1)


def _expected_worst(found: Passes, box: tuple[Ends, Ends]) -> Ends:
    """The corner whose shifts are the largest, where those of b and of s add up."""

    def at(name: str, value: float) -> np.ndarray:
        sweep = found.swept(name)
        by_measure = np.array([list(_shifts(found, each).values()) for _, each in sweep])
        return np.array([np.interp(value, [v for v, _ in sweep], column) for column in by_measure.T])

    corners = [(b, s) for b in box[0] for s in box[1]]
    return max(corners, key=lambda corner: float(np.abs(at("b", corner[0]) + at("s", corner[1])).max()))
