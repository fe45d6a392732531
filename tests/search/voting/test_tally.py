"""What votes say: closed forms, agreement by hand, and simulated voters."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import votes as simulation
from search.study.held_out import BASE
from search.tracking.votes import vote_metrics
from search.voting import tally as tallies
from search.voting import wording
from search.voting.bradley_terry import strengths
from search.voting.comparisons import comparisons
from search.voting.tally import decided, share
from tests.search import made
from tests.search.voting.people import booth, cast, vote


def test_a_win_rate_counts_ties_as_half() -> None:
    found = share([1, 1, 0.5, 0, 1, 1, 0.5, 1], [f"p{i}" for i in range(8)])
    assert found["share"] == 0.75 and found["n"] == 8
    assert 0.4 < found["low"] < 0.75 < found["high"] <= 1
    assert share([1, 0, 1], ["a", "b", "c"])["low"] is None


def test_votes_on_one_prompt_are_not_independent() -> None:
    """The same votes on a quarter of the prompts know half as much."""
    values = [1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1] * 4
    apart = share(values, [str(i) for i in range(48)])
    together = share(values, [str(i % 12) for i in range(48)])
    assert together["high"] - together["low"] > 1.5 * (apart["high"] - apart["low"])


def test_the_rival_is_voted_on_by_its_name(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    found = made.with_rival(folder)
    folder.learn_held_out("0005", folder.read_held_out(BASE))
    pairs = comparisons(folder, found)
    others = [(each.name, each.other) for each in pairs]
    assert others[:2] == [("0001/baseline", "baseline"), ("0001/0005", "rival (FreeU off at guidance 4, trial 5)")]
    told = tallies.tally(folder, cast([]), pairs, "study", made.DIRECTIONS)
    assert [row["other"] for row in told["comparisons"]] == [other for _, other in others]
    row = {"finalist": 1, "against": "0005", "label": "knee (trial 1)", "other": others[1][1], "share": 0.8}
    row |= {"low": 0.6, "high": 0.9, "p_holm": 0.01, "sure": True}
    voted = {"voters": ["ann"], "votes": 9, "ties": 0, "comparisons": [row]}
    assert "knee (trial 1) is preferred to the rival (FreeU off at guidance 4, trial 5): it" in wording.people(voted)
    assert vote_metrics(voted)["votes/trial 1 against trial 5.win_rate"] == 0.8


def test_a_clear_answer_stops_early_and_no_other() -> None:
    wins = [vote(1, i) for i in range(40)]
    assert not decided(wins[:35], 47, False, 1)["stopped"]  # the look is at 36
    assert decided(wins[:36], 47, False, 1) == {"look": 1, "p": pytest.approx(0, abs=0.01), "stopped": True}
    even = [vote(float(i % 2), i) for i in range(47)]
    assert decided(even, 47, False, 1) == {"look": None, "p": None, "stopped": False}
    assert decided(even, 47, True, 1)["p"] > 0.9


def test_bradley_terry_of_one_pair_is_its_log_odds() -> None:
    """20 wins, 8 losses and the tie that is added."""
    votes = [vote(1, i) for i in range(20)] + [vote(0, i) for i in range(20, 28)]
    first, last = strengths(votes, {"0001": "knee"})
    assert first["label"] == "knee" and last["name"] == "baseline" and last["strength"] == 0
    assert first["strength"] == pytest.approx(math.log(20.5 / 8.5), abs=1e-6)
    error = math.sqrt(28 * 20.5 / 29 * 8.5 / 29) / (29 * 20.5 / 29 * 8.5 / 29)  # of as many independent votes, about
    assert (first["high"] - first["low"]) / 2 == pytest.approx(2.05 * error, rel=0.1)


def test_bradley_terry_orders_three_and_survives_a_sweep() -> None:
    votes = [vote(1, i) for i in range(12)] + [vote(float(i % 4 == 0), i, finalist="0002") for i in range(12)]
    rows = strengths(votes, {"0001": "knee", "0002": "most-improved"})
    assert [row["name"] for row in rows] == ["0001", "baseline", "0002"]
    assert all(math.isfinite(row["strength"]) for row in rows)


def test_a_whole_study_by_hand(tmp_path: Path) -> None:
    """Trial 1 has the better clip from prompt 3 on, and the worse aesthetic everywhere (tests/search/made.py)."""
    folder = made.study(tmp_path, side=8)
    room = booth(folder)
    for voter in ("ann", "ben"):
        for card in room.deck.cards(voter).values():
            if card.comparison.finalist == "0001":
                prefers = card.row >= (4 if voter == "ben" else 3) or (card.again and card.row == 0)
                side = "left" if (card.left == "0001") == prefers else "right"
                room.vote(voter, card.token, "tie" if (voter, card.row) == ("ben", 7) else side, 2.0, True)
    told = room.told()
    assert not told["over"] and "metrics" not in told and all("share" not in row for row in told["comparisons"])
    room.end("ann")
    told = room.told()
    assert told["voters"] == ["ann", "ben"] and told["votes"] == 16 and told["repeats"] == 16 and told["ties"] == 1
    row = told["comparisons"][0]
    assert (row["wins"], row["losses"], row["ties"]) == (5 + 3, 3 + 4, 1) and row["share"] == 8.5 / 16
    assert told["between"]["share"] == pytest.approx(6.5 / 8)  # they differ in prompt 3, and by a tie in 7
    assert told["self"]["share"] == pytest.approx(14 / 16)  # each changes sides in prompt 0
    assert told["metrics"]["clip"]["share"] == pytest.approx(14 / 15)  # ben's vote on prompt 3
    assert told["metrics"]["aesthetic"]["share"] == pytest.approx(7 / 15)
    assert set(told["metrics"]) == {"clip", "aesthetic"}  # fid has no score of a single image


def test_votes_that_no_longer_fit_are_left_out_and_told(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    room = booth(folder)
    cards = [card for card in room.deck.cards("ann").values() if not card.again and card.comparison.finalist == "0001"]
    for card in cards:
        room.vote("ann", card.token, "left", 1.0, True)
    changed, gone = (folder.held_out_image("0001", card.row) for card in cards[:2])
    changed.write_bytes(folder.held_out_image("0002", cards[0].row).read_bytes())
    gone.unlink()
    assert room.told()["votes"] == 7
    assert room.told()["left_out"] == ["1 vote of images that have changed since"]
    other = made.study(tmp_path, "other", side=8, seed=3)
    (other.root / "votes.jsonl").write_bytes(room.ballots.file.read_bytes())
    (other.root / "config.yaml").write_text(
        other.config.read_text().replace("fingerprint:", "fingerprint:\n  resolution: 9")
    )
    found = booth(other).told()
    assert found["votes"] == 0 and found["left_out"] == ["8 votes of another study"]


def test_simulated_voters() -> None:
    """A small version of benchmarks/votes.py, with bounds of four standard errors."""
    rng = np.random.default_rng(0)
    null = np.array([simulation.simulated(0.5, 53, 60, rng) for _ in range(150)], float)
    assert null[:, 0].mean() < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 150)
    assert null[:, 1].mean() > 0.95 - 4 * math.sqrt(0.05 * 0.95 / 150)
    true = np.array([simulation.simulated(0.7, 53, 60, rng) for _ in range(100)], float)
    assert true[:, 0].mean() > 0.8 - 4 * math.sqrt(0.8 * 0.2 / 100)
    assert true[:, 1].mean() > 0.95 - 4 * math.sqrt(0.05 * 0.95 / 100)


def test_a_tally_that_ignored_prompts_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten prompts with five votes each that go together."""
    rng = np.random.default_rng(0)

    def held(clustered: bool) -> float:
        found = 0
        for _ in range(150):
            scores = np.repeat(rng.integers(0, 2, 10), 5)
            prompts = [f"p{i // 5}" if clustered else f"p{i}" for i in range(50)]
            interval = tallies.share(scores.tolist(), prompts)
            found += interval["low"] <= 0.5 <= interval["high"]
        return found / 150

    assert held(True) > 0.88 and held(False) < 0.75
