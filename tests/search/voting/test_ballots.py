"""The file of votes: nothing is lost, nothing counts twice, whatever happens to it."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
import yaml

from configs import UserError
from search.voting.ballots import Ballots
from search.voting.comparisons import stamp
from search.voting.deck import AGAIN, Deck
from tests.search import made
from tests.search.voting.people import booth, cast, vote


def test_a_vote_counts_once(tmp_path: Path) -> None:
    ballots = Ballots(tmp_path / "votes.jsonl")
    assert ballots.cast(vote(1, 0)) and not ballots.cast(vote(0, 0))
    assert ballots.cast(vote(0, 0, "ben"))
    again = Ballots(ballots.file).read()
    assert [each.score for each in again.votes.values()] == [1, 0]


def test_undone_and_cast_anew(tmp_path: Path) -> None:
    ballots = Ballots(tmp_path / "votes.jsonl")
    ballots.cast(vote(1, 0))
    assert ballots.undo("ann", vote(1, 0).key) and not ballots.undo("ann", vote(1, 0).key)
    assert ballots.read().votes == {} and ballots.read().begun
    assert ballots.cast(vote(0, 0)) and [each.score for each in ballots.read().votes.values()] == [0]
    assert len(ballots.file.read_text().splitlines()) == 3  # nothing is taken away


def test_a_file_that_was_cut_loses_one_vote_at_most(tmp_path: Path) -> None:
    ballots = Ballots(tmp_path / "votes.jsonl")
    for i in range(3):
        ballots.cast(vote(1, i))
    whole = ballots.file.read_bytes()
    for length in range(len(whole)):
        ballots.file.write_bytes(whole[:length])
        before = len(ballots.read().votes)
        assert before >= whole[:length].count(b"\n") and ballots.read().unread <= 1
        ballots.cast(vote(0, 9))
        assert len(ballots.read().votes) == before + 1


@pytest.mark.parametrize(
    "line", ["[]", "{", '{"kind": "vote"}', '{"kind": "?"}', "\x00", '{"kind": "undo"}', "[" * 5000]
)
def test_a_line_that_is_no_vote_is_left_out(tmp_path: Path, line: str) -> None:
    ballots = Ballots(tmp_path / "votes.jsonl")
    ballots.cast(vote(1, 0))
    ballots.file.write_text(f"{line}\n{ballots.file.read_text()}")
    found = ballots.read()
    assert len(found.votes) == 1 and found.unread == 1


def test_after_the_end_nothing_counts(tmp_path: Path) -> None:
    ballots = Ballots(tmp_path / "votes.jsonl")
    ballots.cast(vote(1, 0))
    assert ballots.end("ann") and not ballots.end("ben")
    assert not ballots.cast(vote(1, 1)) and not ballots.undo("ann", vote(1, 0).key)
    assert len(ballots.read().votes) == 1 and ballots.read().ended == "ann"


def _votes(file: Path, voter: str) -> None:
    for i in range(20):
        Ballots(file).cast(vote(1, i, voter))


def test_several_processes_at_once(tmp_path: Path) -> None:
    """Two of one voter, as with two servers, and one of another: each vote once."""
    file = tmp_path / "votes.jsonl"
    context = multiprocessing.get_context("fork")
    each = [context.Process(target=_votes, args=(file, name)) for name in ("ann", "ann", "ben")]
    for process in each:
        process.start()
    for process in each:
        process.join()
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 40


def test_the_plan_is_fixed_by_the_first_vote(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    assert booth(folder).planned == 111 and booth(folder, 0.7).planned == 63  # two comparisons share the error
    room = booth(folder)
    assert room.planned == 63
    room.vote("ann", next(iter(room.deck.cards("ann").values())).token, "tie", 1.0, True)
    assert booth(folder).planned == 63
    with pytest.raises(UserError, match="takes 249 votes"):
        booth(folder, 0.6)


def test_pairs_are_dealt_evenly_mirrored_and_without_hints(tmp_path: Path) -> None:
    room = booth(made.study(tmp_path, side=8, prompts=40))
    deck, seen = Deck(room.comparisons, "seed"), []
    votes = cast([])
    for _ in range(66):
        card = deck.next("ann", votes)
        assert card is not None and card == Deck(room.comparisons, "seed").next("ann", votes)  # a reload shows the same
        seen.append(card)
        names = ("ann", card.comparison.finalist, "baseline", card.row, "p", 0, card.left, "left", card.again)
        found = type(vote(1, 0))(*names, ("a", "b"), "study")
        votes.votes["ann", found.key] = found
    fresh = [card for card in seen if not card.again]
    counts = [sum(card.comparison.finalist == name for card in fresh) for name in ("0001", "0002")]
    assert abs(counts[0] - counts[1]) <= 1
    assert len({card.key for card in seen}) == 66 and len({card.token for card in seen}) == 66
    repeats = [card for card in seen if card.again]
    assert len(repeats) == 66 // (AGAIN + 1)
    for card in repeats:
        first = next(each for each in fresh if each.key == card.key.removesuffix("/again"))
        assert card.left == first.right
        assert seen.index(card) - seen.index(first) > 4
    lefts = sum(card.left == "baseline" for card in fresh) / len(fresh)
    assert 0.25 < lefts < 0.75  # four standard errors


def test_other_sampling_settings_are_another_study_s_votes(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    result, config = folder.read_result(), yaml.safe_load(folder.config.read_text())
    assert result is not None
    before = stamp(folder, result)
    config["fingerprint"]["sampling"] = {"negative_prompt": "dull"}
    folder.config.write_text(yaml.safe_dump(config))
    assert stamp(folder, result) != before


def test_voters_share_some_pairs(tmp_path: Path) -> None:
    """One in five is what others have judged; the rest is new as long as there is something new."""
    room = booth(made.study(tmp_path, side=8, prompts=40))
    votes = cast([])
    for i in range(60):
        voter = ("ann", "ben")[i % 2]
        card = room.deck.next(voter, votes)
        assert card is not None
        names = (voter, card.comparison.finalist, "baseline", card.row, "p", 0, card.left, "left", card.again)
        found = type(vote(1, 0))(*names, ("a", "b"), "study")
        votes.votes[voter, found.key] = found
    keys = [each.key for each in votes.votes.values() if not each.again]
    assert 0.1 < 1 - len(set(keys)) / len(keys) < 0.25
