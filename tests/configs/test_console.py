"""What commands print: prose that wraps at words, tables that fit, whole lines for a pipe."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from configs.console import Column, fits, say, table
from freeu import IDENTITY, Factors
from search.storage import TrialRecord
from search.storage.trial_record import Value
from search.study import printed_result
from search.terminal.progress import Progress

TEXT = "study       shapes: 64 trials, 12, 24 or 48 prompts of 'shapes' each, and more that one line does not hold"


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)


def said(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_prose_breaks_between_words_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    narrow, pipe = terminal(40), Console(file=io.StringIO(), width=40)
    say(narrow, TEXT, indent=12)
    say(pipe, TEXT, indent=12)
    assert max(map(len, said(narrow))) <= 40 and said(pipe) == [TEXT]
    assert " ".join(" ".join(said(narrow)).split()) == " ".join(TEXT.split())
    assert all(line.startswith(" " * 12) for line in said(narrow)[1:])


def test_a_command_that_is_broken_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = terminal(40)
    say(narrow, "look        python -m search.ui --study shapes --mlruns there", indent=12, joint=" \\")
    assert max(map(len, said(narrow))) <= 40
    assert re.sub(r" \\\n +", " ", "\n".join(said(narrow))).endswith("search.ui --study shapes --mlruns there")


def test_what_steers_a_terminal_is_seen() -> None:
    narrow = terminal(40)
    say(narrow, "\x1b[2J[red]")
    assert said(narrow) == [r"\x1b[2J[red]"]


def test_a_table_loses_columns_before_cells_break() -> None:
    columns = [
        Column("a", ["one word", "two"]),
        Column("number", ["1.5", "10.5"], number=True, rank=1),
        Column("b", ["x" * 20, ""], rank=2),
    ]
    heads = []
    for width in (80, 30, 12):
        console = terminal(width)
        made = table(console, columns)
        assert fits(console, made)
        heads.append([str(each.header) for each in made.columns])
        console.print(made)
        if width == 30:
            assert [line.rstrip()[-4:] for line in said(console)[1:]] == [" 1.5", "10.5"]
    assert heads == [["a", "number", "b"], ["a", "number"], ["a"]]


def test_a_trial_is_one_line_of_at_most_80() -> None:
    console = terminal(80)
    directions = {"clip": "up", "aesthetic": "up", "fid": "down"}
    progress = Progress(console, directions, 64, 48)
    for number in range(22):
        values = {"clip": 92.23 - number, "aesthetic": 9.196, "fid": 89.65 + 10 * number}
        shifts = {"contrast": -11.3, "saturation": 4.4}
        scored = {name: Value(value, 0.1, 12, directions[name]) for name, value in values.items()}
        progress.ended(
            TrialRecord(number, Factors(1.2, 1.3, 0.9, 0.2), "gp", "COMPLETE", scored, {}, 12, 9, guardrails=shifts)
        )
    lines = said(console)
    assert len(lines) == 22 + 2 and max(map(len, lines)) <= 80  # a header for each 20
    assert lines[0] == lines[21] and lines[0].split()[:3] == ["done", "trial", "b1"]
    points = {tuple(place for place, sign in enumerate(line[:61]) if sign == ".") for line in lines if "/64" in line}
    assert all("  out: " in line for line in lines if "/64" in line)
    assert len(points) == 1  # numbers align
    assert all(line.endswith((", …", ": …")) for line in lines if "…" in line)  # no word is cut


def test_the_time_left_foresees_the_looks_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("search.terminal.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    progress = Progress(terminal(80), {"clip": "up"}, 2, 10, held_out=30, most=120)
    assert progress.left_in_words() == "unknown until the first trial ends"
    scored = {"clip": Value(1.0, 0.1, 10, "up")}
    for number in range(2):
        progress.ended(TrialRecord(number, IDENTITY, "gp", "COMPLETE", scored, {"total": 20.0}, 10, 9))
    assert progress.left_in_words() == "about 1 min 0 s, up to 4 min 0 s with all looks of the confirmation"
    progress.confirming("baseline", 8, 16, 100)  # a first look at three candidates on 8 rows each, of 100 images
    now[0] += 6.0
    assert progress.left() == (24 * 2.0 - 6.0, 100 * 2.0 - 6.0)
    progress.confirming("trial 1", 8, 8, 100)
    assert progress.left() == (16 * 2.0, 92 * 2.0)
    progress.confirming("trial 1", 92, 0, 100)  # the last ones
    assert progress.left_in_words() == "about 3 min 4 s"


def test_the_picks_fit_into_80_columns() -> None:
    score = {"difference": -0.123, "low": -0.4567, "high": 0.789, "p": 0.2, "p_holm": 0.4, "n": 69}
    factors = {"b1": 1.2, "b2": 1.3, "s1": 0.9, "s2": 0.2}
    directions = {"clip": "up", "aesthetic": "up", "fid": "down"}
    picks = [
        {"pick": name, "number": number, "factors": factors, "scores": dict.fromkeys(directions, score)}
        for number, name in enumerate(("best-aesthetic", "most-improved"))
    ]
    result = {"objectives": directions, "front": [], "picks": picks, "verdict": "Not shown to help: no pick is better."}
    for width in (80, 120):
        console = terminal(width)
        printed_result.tables(console, result)
        assert max(map(len, said(console))) <= width
        assert len(re.findall(r"-0\.123 +\[-0\.457, \+0\.789\]", "\n".join(said(console)))) == 6


@pytest.mark.parametrize("width", [80, 240])
def test_a_trial_that_is_several_picks_is_printed_once(width: int) -> None:
    score = {"difference": -0.123, "low": -0.4567, "high": 0.789, "p": 0.2, "p_holm": 0.4, "n": 69}
    directions = {"clip": "up", "aesthetic": "up", "fid": "down"}
    trials = (("best-aesthetic", 11), ("best-fid", 11), ("most-improved", 11), ("best-clip", 6))
    picks: list[dict[str, Any]] = [
        {"pick": name, "number": number, "factors": {}, "scores": dict.fromkeys(directions, score)}
        for name, number in trials
    ]
    baseline = {"number": 0, "factors": IDENTITY.as_dict(), "scores": {}}
    off = [{**baseline, "pick": name} for name in ("knee", "best-kid")]
    console = terminal(width)
    result = {"objectives": directions, "front": [], "picks": [*picks, *off], "verdict": "So."}
    printed_result.tables(console, result)
    text = " ".join("\n".join(said(console)).split())
    assert "best-aesthetic = best-fid = most-improved (trial 11)" in text and "best-clip (trial 6)" in text
    assert "the baseline itself: knee = best-kid (trial 0)" in text
    assert text.count("-0.123") == 6 and max(map(len, said(console))) <= width


@pytest.mark.parametrize("where", ["scores", "judges", None])
def test_a_star_is_explained_where_one_is_printed(where: str | None) -> None:
    plain = {"value": 1.0, "difference": 0.5, "low": 0.1, "high": 0.9, "p": 0.02, "p_holm": 0.2, "n": 69}
    pick = {"pick": "knee", "number": 1, "factors": {"b1": 1.2}, "scores": {"clip": plain}, "judges": {"kid": plain}}
    if where is not None:
        pick[where] = {name: {**plain, "p_holm": 0.01} for name in pick[where]}
    result = {"objectives": {"clip": "up"}, "judges": {"kid": "down"}, "front": [], "picks": [pick], "verdict": "So."}
    console = terminal(120)
    printed_result.tables(console, result)
    text = "\n".join(said(console))
    assert ("0.9]*" in text) == ("* significant" in text) == (where is not None)


@pytest.mark.parametrize(
    ("low", "high", "p", "told"),
    [(0.1, 0.9, 0.2, True), (-0.9, -0.1, 0.2, True), (0.1, 0.9, 0.01, False), (-0.1, 0.9, 0.2, False)],
)
def test_an_interval_beside_0_without_a_star_is_explained(low: float, high: float, p: float, told: bool) -> None:
    score = {"value": 1.0, "difference": 0.5, "low": low, "high": high, "p": 0.02, "p_holm": p, "n": 69}
    pick = {"pick": "knee", "number": 1, "factors": {"b1": 1.2}, "scores": {"fid": score}}
    console = terminal(120)
    result = {"objectives": {"fid": "down"}, "front": [], "picks": [pick], "verdict": "So."}
    printed_result.tables(console, result)
    assert ("leaves out 0 and has no star may be chance" in "\n".join(said(console))) == told
