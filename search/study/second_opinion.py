"""What judges say of a gain: metrics that the search never read, so nothing was chosen for pleasing them.

Whatever is searched on gets gamed, by artefacts too (arXiv 2601.03468). A gain that a judge measurably shares is no
mere artefact of its own objective; one that a judge measurably contradicts, while none shares it, is none to take away.
Where no judge moves, they can't tell: an artefact and a true gain in what they don't measure look the same to them.
Why silence is no evidence, and what their error is: docs/decisions/010-judges.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from search.study.rival import joined

Rows = Mapping[str, Mapping[str, Any]]
Kind = Literal["none", "shared", "split", "unsettled", "contradicted"]

BEGINS: dict[Kind, str] = {
    "none": "FreeU helps here: ",
    "shared": "FreeU helps here: ",
    "split": "FreeU helps here, and the judges are divided: ",
    "unsettled": "FreeU helps here by the objectives alone, and the judges can't tell: ",
    "contradicted": "FreeU raises the objectives here, but the judges disagree: ",
}
"""The verdict's first words, where it is better than the baseline and has no rival."""


class Opinion(NamedTuple):
    """kind: "none" where nobody judged. text: sentences behind the verdict's, "" for none."""

    kind: Kind = "none"
    text: str = ""


def opinion(better: Sequence[str], worse: Sequence[str], rows: Rows) -> Opinion:
    """On a finalist that is better than the baseline in some objective. rows: judge → what was found. better, worse:
    the judges in which it measurably is so.
    """
    if not rows:
        return Opinion()
    still = [name for name in rows if name not in (*better, *worse)]
    unmoved = f" No measurable difference in {joined(still)}." if still else ""
    gains = joined([_difference(name, rows[name]) for name in better])
    losses = joined([_preference(name, rows[name]) for name in worse])
    if better and worse:
        text = f" Of the judges, which the search never read, some share the gain ({gains}), but {losses}."
        return Opinion("split", text + unmoved)
    if better:
        return Opinion("shared", f" Judges that the search never read share the gain: {gains}.{unmoved}")
    if worse:
        text = f" But {losses}, and no judge shares the gain: it may be an artefact that the objectives like."
        return Opinion("contradicted", text + unmoved)
    text = f" No judge measurably shares this gain, and none is against it: {joined(still)}{_power(rows)}."
    return Opinion("unsettled", f"{text} It may be an artefact that the objectives like, or lie in what none measures.")


def over_rival(worse: Sequence[str], rows: Rows) -> str:
    """The same, against the rival, where a judge prefers that; else empty."""
    losses = joined([_preference(name, rows[name], "that") for name in worse])
    return f" Against the best guidance alone, {losses}." if worse else ""


def _difference(name: str, row: Mapping[str, Any]) -> str:
    return f"{name} by {row['difference']:+.3g} [{row['low']:.3g}, {row['high']:.3g}]"


def _preference(name: str, row: Mapping[str, Any], other: str = "the baseline") -> str:
    """As "pickscore prefers the baseline in 58 % of pairs (by -0.1 [-0.2, -0.05])"; of a set without the share."""
    lost = "" if row.get("win_rate") is None else f" in {1 - row['win_rate']:.0%} of pairs".replace("%", " %")
    change = _difference(name, row).removeprefix(f"{name} ")
    return f"{name} prefers {other}{lost} ({change})"


def _power(rows: Rows) -> str:
    told = [f"{row['detectable']:.2g} in {name}" for name, row in rows.items() if row.get("detectable")]
    return f" (with 80 % power these prompts would show {' or '.join(told)})" if told else ""
