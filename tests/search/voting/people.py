"""Studies to vote on and votes, made up."""

from __future__ import annotations

from collections.abc import Sequence

from search.storage import StudyFolder
from search.voting.ballots import Cast, Vote
from search.voting.booth import Booth


def booth(folder: StudyFolder, rate: float | None = None) -> Booth:
    result = folder.read_result()
    assert result is not None
    return Booth(folder, result, rate)


def vote(score: float, prompt: int, voter: str = "ann", *, finalist: str = "0001", again: bool = False) -> Vote:
    """On a prompt of its number; the finalist stands left."""
    choice = {1.0: "left", 0.0: "right", 0.5: "tie"}[score]
    names = (voter, finalist, "baseline", prompt, f"prompt {prompt}", prompt, finalist, choice, again)
    return Vote(*names, ("a", "b"), "study")


def cast(votes: Sequence[Vote], planned: int | None = None) -> Cast:
    return Cast({(each.voter, each.key): each for each in votes}, planned, bool(votes))
