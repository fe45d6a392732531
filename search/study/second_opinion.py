"""What judges say of a gain: metrics that the search never read, so nothing was chosen for pleasing them.

Whatever is searched on gets gamed, by artefacts too (arXiv 2601.03468). A gain that a judge measurably shares is no
mere artefact of its own objective; one that no judge shares, or that one measurably contradicts, is called that.
No judge shares a gain where each one's interval rules out a gain as large in its own spread as the objective's; where
one can't rule that out, it is too weak a judge to tell.
Their error is one of their own: see docs/decisions/010-judges.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from search.study.rival import joined

Rows = Mapping[str, Mapping[str, Any]]
Kind = Literal["none", "shared", "split", "unsettled", "unshared", "contradicted"]

BEGINS: dict[Kind, str] = {
    "none": "FreeU helps here: ",
    "shared": "FreeU helps here: ",
    "split": "FreeU helps here, and the judges are divided: ",
    "unsettled": "FreeU helps here, and the judges can't tell: ",
    "unshared": "FreeU helps here by the objectives alone: ",
    "contradicted": "FreeU raises the objectives here, but the judges disagree: ",
}
"""The verdict's first words, where it is better than the baseline and has no rival."""


class Opinion(NamedTuple):
    """kind: "none" where nobody judged. text: sentences behind the verdict's, "" for none."""

    kind: Kind = "none"
    text: str = ""


def opinion(
    better: Sequence[str], worse: Sequence[str], rows: Rows, directions: Mapping[str, str], gain: float
) -> Opinion:
    """On a finalist that is better than the baseline in some objective. rows: judge → what was found. better, worse:
    the judges in which it measurably is so. gain: the objective's, as `size` has it.
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
    told = [name for name in rows if rows[name]["low"] is not None and rows[name]["low"] < rows[name]["high"]]
    if not told or any(size(rows[name], directions[name]) + 1 >= gain for name in told):
        return Opinion("unsettled", f" The judges show no measurable difference: {joined(still)}{_power(rows)}.")
    text = f" No judge shares this gain: none as large, by the spread of each, is possible in {joined(told)}"
    return Opinion(
        "unshared", f"{text}. It may be an artefact that the objectives like, or lie in what no judge measures."
    )


def size(row: Mapping[str, Any], direction: str) -> float:
    """A gain in half widths of its 95 % interval: comparable between metrics of the same images. 1 and more excludes 0;
    within the interval lie gains up to 1 more."""
    if row["low"] is None or row["low"] == row["high"]:
        return 0.0
    return float((row["difference"] if direction == "up" else -row["difference"]) / ((row["high"] - row["low"]) / 2))


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
