"""The persons' verdict in result.json: there once voting is over, gone with the votes, never in a run's way."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from search import run
from search.python import Study
from search.storage import StudyFolder
from search.tracking.background import stamp
from search.voting.booth import Booth, with_votes
from tests.search import made
from tests.search.voting.people import booth


def voted(room: Booth, voter: str = "ann", choice: str = "left") -> str:
    card = next(card for card in room.deck.cards(voter).values() if not card.again)
    room.vote(voter, card.token, choice, 1.0, True)
    return card.token


def result_of(folder: StudyFolder) -> dict[str, Any]:
    result = folder.read_result()
    assert result is not None
    return result


def test_once_voting_is_over(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    before, room = result_of(folder), booth(folder)
    voted(room)
    assert result_of(folder) == before  # no score before the end
    room.end("ann")
    found = result_of(folder)
    assert found["votes"]["verdict"].startswith("By 1 voter (1 vote): ") and found["votes"]["votes"] == 1
    assert {name: value for name, value in found.items() if name != "votes"} == before
    assert stamp(found) == stamp(before)  # nothing of the search is logged again
    assert Study(folder).verdict == f"By the metrics: {before['verdict']} {found['votes']['verdict']}"
    room.ballots.file.unlink()
    booth(folder)  # voting begins anew
    assert result_of(folder) == before


def test_a_study_that_runs_again_writes_it_itself(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    before, room = result_of(folder), booth(folder)
    voted(room)
    with folder.locked():
        room.end("ann")
        assert result_of(folder) == before
        assert "votes" in with_votes(folder, before)
    booth(folder)
    assert "votes" in result_of(folder)


def _end(mlruns: Path, voter: str) -> None:
    room = booth(StudyFolder(mlruns, "sunday"))
    room.end(voter)


def test_two_pages_that_end_at_once(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    room = booth(folder)
    for voter in ("ann", "ben"):
        voted(room, voter)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_end, args=(tmp_path, voter)) for voter in ("ann", "ben")]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert [each.exitcode for each in processes] == [0, 0]
    assert result_of(folder)["votes"]["votes"] == 2


@pytest.mark.parametrize(("option", "person"), [("--json", True), ("--quiet", True), ("--json", False)])
def test_judge_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, person: bool) -> None:
    """Where a person is at the terminal, what is printed at the end has the votes; else it says how to vote."""
    folder = made.study(tmp_path, "shapes", side=8)

    def asked(room: Booth, voter: str) -> None:
        print("vote: http://127.0.0.1:5050")
        voted(room, voter)
        room.end(voter)

    monkeypatch.setattr("search.session.run_study", lambda settings, console: result_of(folder))
    monkeypatch.setattr("search.voting.asking.open_until_stopped", asked)
    monkeypatch.setattr("search.tracking.votes.log_votes", lambda *told: None)
    monkeypatch.setattr("search.run._person", lambda: person)
    arguments = ["--model", "shapes", "--study", "shapes", "--mlruns", str(tmp_path), "--judge", "person", option]
    done = CliRunner().invoke(run.app, arguments)
    assert done.exit_code == 0, done.exception
    if not person:
        assert "votes" not in json.loads(done.stdout) and "search.vote --study shapes" in done.stderr
    elif option == "--json":
        assert json.loads(done.stdout)["votes"]["voters"] and "vote: http" in done.stderr
    else:
        assert done.stdout.startswith("By the metrics: FreeU trades here") and "By 1 voter (1 vote)" in done.stdout
