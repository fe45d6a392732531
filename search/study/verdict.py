"""What a person takes away from a confirmation: a verdict in words, and the pick that it stands on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from search.study.looks import FIRST, LEVEL
from search.study.rival import joined, sentence, trade
from search.study.second_opinion import BEGINS, Opinion, opinion, over_rival
from search.terminal.progress import out_of_bounds

if TYPE_CHECKING:
    from search.optimizer.pareto_front import Pick

COUNTS = "* significant: p, corrected for all comparisons (Holm) and looks, is below 0.05"
CHANCE = "an interval that leaves out 0 and has no star may be chance: among all these comparisons it is not rare"

Scores = Mapping[int, Mapping[str, Mapping[str, Any]]]
"""Trial number → objective → what was found; see `search.study.confirmation.confirm`."""


@dataclass(frozen=True)
class Rivals:
    """What the finalists' tuned baselines are called, and how the finalists compare with them, by finalist. own: what
    the study's sampling settings are called.
    """

    scores: Scores = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    own: str = "the study's guidance"


@dataclass(frozen=True)
class Judges:
    """What the judges found, by finalist, against the baseline and against its rival. directions: by judge."""

    directions: Mapping[str, str] = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)
    over_rivals: Scores = field(default_factory=dict)


class Verdict(NamedTuple):
    """number: of the trial that a person should use; None is to keep FreeU off."""

    text: str
    number: int | None = None


def fewest(rows: int, level: float = LEVEL * FIRST) -> int:
    """Prompts without which none of so many comparisons can count: all differences of one sign have p = 2 / 2^n.
    level: the error of the confirmation.
    """
    return math.ceil(1 - math.log2(level / max(1, rows)))


def measurable(row: Mapping[str, Any]) -> bool:
    """Whether a difference counts: Holm's p is below 0.05. 0 then lies outside of the 95 % interval too, as both are
    of one distribution.
    """
    return bool(row["p_holm"] < LEVEL)


def may_be_chance(row: Mapping[str, Any]) -> bool:
    """Whether 0 lies outside of a difference's own interval, but Holm's p does not let it count."""
    return row["low"] is not None and not row["low"] <= 0 <= row["high"] and not measurable(row)


def verdict(
    picks: Sequence[Pick],
    scores: Scores,
    directions: Mapping[str, str],
    picked: int | None = None,
    ruled_out: int = 0,
    level: float = LEVEL * FIRST,
    margins: Mapping[str, float] | None = None,
    rivals: Rivals | None = None,
    judges: Judges | None = None,
) -> Verdict:
    """picked: how many candidates were to be confirmed; None is as many as were. ruled_out: how many candidates the
    guardrails ruled out, where they left none but the baseline. level: the error of the confirmation. margins:
    objective → the loss that doesn't matter. rivals: of the finalists. judges: what was not searched on.
    """
    if not scores and picked:
        return Verdict("Nothing can be said of FreeU here: no pick could be scored on the held-out prompts.")
    if not scores and ruled_out:
        tried = "the only candidate that was" if ruled_out == 1 else f"all {ruled_out} candidates that were"
        return Verdict(
            f"FreeU is not shown to help here: the guardrails ruled out {tried} tried. "
            "--no-guardrails searches without them, under another --study."
        )
    if not scores:
        return Verdict(
            "FreeU is not shown to help here: no candidate was better than the baseline, so none was confirmed."
        )
    margins = margins or {}
    sides = {number: _sides(rows, directions, margins) for number, rows in scores.items()}
    helped = {number: better for number, (better, worse) in sides.items() if better and not worse}
    traded = {number: side for number, side in sides.items() if side[0] and side[1]}
    rivals, judges = rivals or Rivals(), judges or Judges()
    rows = [row for each in (*scores.values(), *rivals.scores.values()) for row in each.values()]
    n, least = max(row["prompts"] for row in rows), fewest(len(rows), level)
    if n < least:
        return Verdict(
            f"Nothing can be said of FreeU here: {n} held-out prompts are too few for {len(rows)} comparisons, of "
            f"which none can count below {least} prompts."
        )
    images = max(row["n"] for row in rows)
    on = f"on {n} held-out prompts" + (f" ({images} images)" if images > n else "")
    if helped:
        over = {number: _sides(each, directions, margins) for number, each in rivals.scores.items()}
        # Who is better than the best guidance alone comes before who is better than the baseline only.
        number = max(helped, key=lambda k: (k not in over or (over[k][0] != [] and not over[k][1]), len(helped[k])))
        good = _listed(helped[number], scores[number])
        text = f"{_named(number, picks)} is better {on} in {good}, and measurably worse in nothing."
        second = _second(number, judges)
        first, against = BEGINS[second.kind], " Against the baseline " if number in over else ""
        if number in over:
            first = sentence(*over[number], rivals.scores[number], rivals.names[number], rivals.own)
        end = _open(scores[number], directions, helped[number], margins)
        judged = judges.over_rivals.get(number, {})
        end += second.text + over_rival(_sides(judged, judges.directions, {})[1], judged)
        beaten = (number in over and over[number][1] and not over[number][0]) or second.kind == "contradicted"
        return Verdict(f"{first}{against}{text}{end}", None if beaten else number)
    if traded:
        number = max(traded, key=lambda k: len(traded[k][0]) - len(traded[k][1]))
        good, bad = (_listed(side, scores[number]) for side in traded[number])
        text = f"FreeU trades here: {_named(number, picks)} is better {on} in {good}, but worse in {bad}."
        if number in rivals.scores:
            than_rival = _sides(rivals.scores[number], directions, margins)
            text += trade(*than_rival, rivals.scores[number], rivals.names[number])
        told = [*traded[number][0], *traded[number][1]]
        second = _second(number, judges)
        taken = None if second.kind == "contradicted" else number
        return Verdict(text + _open(scores[number], directions, told, margins) + second.text, taken)
    worse = [number for number, side in sides.items() if side[1]]
    also = ""
    if worse:
        number = worse[0]
        also = f" {_named(number, picks).capitalize()} is worse in {_listed(sides[number][1], scores[number])}."
    tried = f"none of {len(scores)} finalists is" if len(scores) > 1 else "the finalist is not"
    return Verdict(
        f"FreeU is not shown to help here: {tried} measurably better than the baseline {on}.{also}{_resolution(scores)}"
    )


def moved_too_far(shifts: Mapping[int, Mapping[str, float]]) -> str:
    """A sentence on the finalists that break a guardrail on the held-out images; empty for none. shifts: by trial."""
    told = {number: out_of_bounds(each) for number, each in shifts.items()}
    listed = "; ".join(f"trial {number} ({broken})" for number, broken in told.items() if broken)
    return f" Out of bounds on the held-out images: {listed}." if listed else ""


def _sides(
    rows: Mapping[str, Mapping[str, Any]], directions: Mapping[str, str], margins: Mapping[str, float]
) -> tuple[list[str], list[str]]:
    """(objectives that are better, objectives that are worse), measurably; a loss within its margin is none."""
    sure = [name for name, row in rows.items() if measurable(row)]
    better = [name for name in sure if (rows[name]["difference"] > 0) == (directions[name] == "up")]
    return better, [
        name for name in sure if name not in better and not _within(rows[name], directions[name], margins.get(name))
    ]


def _second(number: int, judges: Judges) -> Opinion:
    """What the judges say of a finalist that is better in some objective."""
    rows = judges.scores.get(number, {})
    return opinion(*_sides(rows, judges.directions, {}), rows)


def _loss(row: Mapping[str, Any], direction: str) -> float | None:
    """The most that may be lost: the bad end of the 95 % interval, 0 where that is a gain; None if unknown."""
    end = row["low"] if direction == "up" else row["high"]
    return None if end is None else max(0.0, -end if direction == "up" else end)


def _within(row: Mapping[str, Any], direction: str, margin: float | None) -> bool:
    """Whether a loss beyond the margin is ruled out."""
    loss = _loss(row, direction)
    return margin is not None and loss is not None and loss <= margin


def _open(
    rows: Mapping[str, Mapping[str, Any]],
    directions: Mapping[str, str],
    told: Sequence[str],
    margins: Mapping[str, float],
) -> str:
    """By how much the other objectives may be worse."""
    ruled_out, losses = [], []
    for name in (name for name in rows if name not in told):
        loss = _loss(rows[name], directions[name])
        if _within(rows[name], directions[name], margins.get(name)):
            ruled_out.append(f"{margins[name]:g} in {name}")
        elif loss:
            sign = "-" if directions[name] == "up" else "+"
            losses.append(f"{sign}{loss:.2g} in {name}")
    said = f" Ruled out: a loss of more than {', '.join(ruled_out)}." if ruled_out else ""
    return said + (f" Not ruled out: {', '.join(losses)}." if losses else "")


def _resolution(scores: Scores) -> str:
    """How small a true difference these prompts would have shown, after the correction, for each finalist."""
    told = {
        number: [f"{row['detectable']:.2g} in {name}" for name, row in rows.items() if row.get("detectable")]
        for number, rows in scores.items()
    }
    listed = "; ".join(f"trial {number}: {' or '.join(each)}" for number, each in told.items() if each)
    return f" With 80 % power these prompts would show a true difference of: {listed}." if listed else ""


def _named(number: int, picks: Sequence[Pick]) -> str:
    return f"{' = '.join(pick.name for pick in picks if pick.number == number)} (trial {number})"


def _listed(names: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for name in names:
        row = rows[name]
        parts.append(f"{name} by {row['difference']:+.3g} [{row['low']:.3g}, {row['high']:.3g}]")
    return joined(parts)
