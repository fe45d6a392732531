"""The file of votes: JSON lines in the study's folder, each appended the moment a vote is cast.

A vote has a key, and counts once for each voter: one that is sent twice, by a browser that reloads or by two servers,
is written once. A line that was cut, as by a full disk, is left out and told. Nothing is ever taken away: undoing is a
line too.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from configs import UserError

CHOICES = ("left", "right", "tie")


@dataclass(frozen=True)
class Vote:
    """One choice between two images of one held-out prompt and seed.

    finalist, against: names of what `StudyFolder.read_held_out` reads, as "0007" and "baseline"; row: of its table.
    left: the name of the one that stood left. choice: of `CHOICES`. again: the pair was shown before, the other way
    round. images: digests of the two files, of finalist and against. study: digest of what the images depend on.
    """

    voter: str
    finalist: str
    against: str
    row: int
    prompt: str
    seed: int
    left: str
    choice: str
    again: bool
    images: tuple[str, str]
    study: str
    at: str = ""
    seconds: float = 0.0
    prompt_shown: bool = True

    @property
    def key(self) -> str:
        return key(self.finalist, self.against, self.row, self.again)

    @property
    def score(self) -> float:
        """1: the finalist is preferred, 0: the other, 0.5: a tie."""
        if self.choice == "tie":
            return 0.5
        return float((self.choice == "left") == (self.left == self.finalist))


def key(finalist: str, against: str, row: int, again: bool) -> str:
    """What a voter votes on once."""
    return f"{finalist}/{against}/{row}" + ("/again" if again else "")


@dataclass
class Cast:
    """What a file of votes holds: the votes that stand, in the order they were cast.

    planned: votes for each comparison. begun: whether any was ever cast. ended: by whom, where the result has been
    asked for. unread: lines that are none.
    """

    votes: dict[tuple[str, str], Vote] = field(default_factory=dict)
    planned: int | None = None
    begun: bool = False
    ended: str | None = None
    unread: int = 0

    def of(self, voter: str) -> list[Vote]:
        return [vote for (name, _), vote in self.votes.items() if name == voter]


class Ballots:
    """The votes of one study. Safe to use from several threads and processes at once."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> Cast:
        """What stands. Raises UserError where the file can't be read."""
        try:
            text = self.file.read_bytes().decode("utf-8", "replace") if self.file.exists() else ""
        except OSError as error:
            raise UserError(f"{self.file} can't be read: {error.strerror}") from error
        return _replayed(text)

    def plan(self, votes: int) -> int:
        """Write down how many votes each comparison is to have. Once one has been cast the plan stays; what holds."""
        with self.held() as stream:
            cast = self.read()
            if cast.planned == votes or (cast.planned is not None and cast.begun):
                return cast.planned
            _append(stream, {"kind": "plan", "votes": votes})
            return votes

    def cast(self, vote: Vote) -> bool:
        """Append a vote. False where this voter's vote on the pair is there, or the result has been shown."""

        def new(found: Cast) -> bool:
            return found.ended is None and (vote.voter, vote.key) not in found.votes

        return self._appended({"kind": "vote", **asdict(vote), "at": vote.at or _now()}, new)

    def undo(self, voter: str, key: str) -> bool:
        """Take a vote back. False where it is not there, or the result has been shown."""

        def there(found: Cast) -> bool:
            return found.ended is None and (voter, key) in found.votes

        return self._appended({"kind": "undo", "voter": voter, "key": key, "at": _now()}, there)

    def end(self, voter: str) -> bool:
        """Ask for the result: no vote counts after it, as whoever casts one may have seen it."""
        return self._appended({"kind": "end", "voter": voter, "at": _now()}, lambda found: found.ended is None)

    def _appended(self, line: dict[str, Any], fits: Callable[[Cast], bool]) -> bool:
        with self.held() as stream:
            if not fits(self.read()):
                return False
            _append(stream, line)
            return True

    @contextmanager
    def held(self) -> Iterator[IO[bytes]]:
        """Keep others from appending meanwhile. Not from within itself. Raises UserError."""
        try:
            with self.file.open("a+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                yield stream
        except OSError as error:
            raise UserError(f"can't write {self.file}: {error.strerror}") from error


def _append(stream: IO[bytes], line: dict[str, Any]) -> None:
    """One line, on the disk when this returns; behind what was cut it begins a new one."""
    size = stream.seek(0, os.SEEK_END)
    cut = False
    if size:
        stream.seek(size - 1)
        cut = stream.read(1) != b"\n"
    stream.write(b"\n" * cut + json.dumps(line, ensure_ascii=True).encode() + b"\n")
    stream.flush()
    os.fsync(stream.fileno())


def _replayed(text: str) -> Cast:
    cast = Cast()
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            kind = found.pop("kind")
            if kind == "vote":
                vote = _vote(found)
                cast.begun = True
                if cast.ended is None:
                    cast.votes.setdefault((vote.voter, vote.key), vote)
            elif kind == "undo":
                cast.votes.pop((found["voter"], found["key"]), None)
            elif kind == "plan":
                planned = max(1, int(found["votes"]))
                cast.planned = planned if cast.planned is None or not cast.begun else cast.planned
            elif kind == "end":
                cast.ended = cast.ended or str(found["voter"])
            else:
                raise ValueError(kind)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            cast.unread += 1
    return cast


def _vote(found: dict[str, Any]) -> Vote:
    """Raises ValueError or TypeError for what is none: the file may come from elsewhere."""
    vote = Vote(**{**found, "images": tuple(found["images"])})
    texts = (vote.voter, vote.finalist, vote.against, vote.prompt, vote.left, vote.study, *vote.images)
    if vote.choice not in CHOICES or len(vote.images) != 2 or not all(isinstance(each, str) for each in texts):
        raise ValueError(vote.choice)
    if type(vote.row) is not int or type(vote.seed) is not int or type(vote.again) is not bool:
        raise TypeError(vote.row)
    return vote


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
