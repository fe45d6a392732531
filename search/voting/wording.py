"""What votes say, in words: for the verdict, the terminal, the page and MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from configs.console import Column, say, table

if TYPE_CHECKING:
    from rich.console import Console

COUNTED = {"won": "wins", "ties": "ties", "lost": "losses"}
"""Columns of votes, and where a comparison has them."""


def both(result: Mapping[str, Any], told: Mapping[str, Any] | None) -> str:
    """The verdict: of the metrics, and of the voters once they are through."""
    return " ".join(verdicts(result, told))


def verdicts(result: Mapping[str, Any], told: Mapping[str, Any] | None) -> list[str]:
    """The same, each on its own."""
    metrics = str(result["verdict"])
    if told is None or not told["over"] or not told["votes"]:
        return [metrics]
    return [f"By the metrics: {metrics}", people(told)]


def people(told: Mapping[str, Any]) -> str:
    """The voters' verdict. told: what `tally` found, when it is over."""
    voters, votes = counted(len(told["voters"]), "voter"), counted(told["votes"], "vote")
    rows = [row for row in told["comparisons"] if "share" in row]
    sure = [row for row in rows if row["sure"]]
    said = []
    for row in sure or sorted(rows, key=lambda row: -row["share"])[:1]:
        verb = "is preferred to" if row["share"] > 0.5 else "is liked less than"
        verb = verb if row["sure"] else "is not shown to be preferred to"
        said.append(f"{row['label']} {verb} the {row['other']}: it wins {rate(row)}, p {p_value(row['p_holm'])}")
    ties = f", {counted(told['ties'], 'tie')} among them as half" if told["ties"] else ""
    return f"By {voters} ({votes}{ties}): {'; '.join(said)}."


def rate(row: Mapping[str, Any]) -> str:
    """A share with its interval, as "63 % [54, 71]"."""
    ends = "" if row["low"] is None else f" [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    return f"{100 * row['share']:.0f} %{ends}"


def p_value(p: float | None) -> str:
    """As "0.012", "< 0.001", "> 0.99"."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else "> 0.99" if p > 0.99 else f"{p:.2g}"


def counted(n: int, noun: str) -> str:
    """As "1 vote", "3 votes"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def lines(told: Mapping[str, Any]) -> list[str]:
    """Beside the table of win rates: strengths, agreement, and what was left out."""
    found = _strengths(told.get("strengths", []))
    if told.get("between"):
        found.append(f"Two voters choose alike in {rate(told['between'])} of {counted(told['between']['n'], 'pair')}.")
    if told.get("self"):
        n = counted(told["self"]["n"], "pair")
        found.append(f"Shown again, mirrored, a pair gets the same vote in {rate(told['self'])} of {n}.")
    for name, each in told.get("metrics", {}).items():
        found.append(f"{name} prefers the same image as the voter in {rate(each)} of {counted(each['n'], 'vote')}.")
    found += [f"Left out: {each}." for each in told["left_out"]]
    return found


def so_far(told: Mapping[str, Any]) -> str:
    """Before the end: how many votes there are, and no score."""
    total = told["planned"] * len(told["comparisons"])
    voters = f" by {counted(len(told['voters']), 'voter')}" if told["voters"] else ""
    return (
        f"{told['votes']} of {total} planned votes are cast{voters}; what they say is shown when voting has ended, so "
        "that nobody is led by it"
    )


def show(console: Console, told: Mapping[str, Any]) -> None:
    """Print the votes' part of a study."""
    if not told["over"]:
        for line in (f"votes: {so_far(told)}", *lines(told)):
            say(console, line)
        return
    voters = ", ".join(told["voters"])
    said = f"Blind votes of {voters}: the share of pairs won, ties as half, with 95 % intervals by prompts"
    console.print()
    say(console, said, style="italic")
    rows = [row for row in told["comparisons"] if "share" in row]
    columns = [
        Column("finalist", [row["label"] for row in rows]),
        Column("against", [row["other"] for row in rows]),
        Column("win rate", [rate(row) for row in rows]),
        *(Column(name, [str(row[key]) for row in rows], number=True, rank=1) for name, key in COUNTED.items()),
        Column("p", [p_value(row["p_holm"]) for row in rows], number=True),
    ]
    console.print(table(console, columns))
    say(console, "p: corrected for all comparisons (Holm) and for the looks", style="dim")
    for line in lines(told):
        say(console, line)
    console.print()


def _strengths(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Worth a line where more than two were compared."""
    if len(rows) < 3:
        return []
    said = [
        f"{row['label']} {row['strength']:+.2f}"
        + ("" if row["low"] is None else f" [{row['low']:+.2f}, {row['high']:+.2f}]")
        for row in rows
    ]
    return [f"Bradley-Terry strengths (log-odds): {', '.join(said)}."]
