"""What candidates get on held-out prompts: drawn in ranges of rows that the workers share, and kept range by range.

A row is a prompt with a seed. The first rows are the held-out prompts in their order, the next ones the same prompts
with other seeds, and so on; each of a study's confirmations has seeds of its own. Whatever was drawn is kept in
confirm/parts/, so a killed confirmation goes on where it was; a candidate whose range ends process after process is
left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import UserError
from freeu import Candidate
from search.evaluation import Evaluation, Evaluators, OnImages
from search.settings import prompts
from search.storage import StudyFolder
from search.storage.files import replacing
from search.study.in_hand import InHand
from search.study.recovery import often
from search.workers import Crew, WorkerDied
from search.workers.crew import TRIES

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

BASE = "baseline"
BASE_KEY = -1  # where the others have their trial's number
ROUNDS = 4
"""Ranges that each of several workers gets, about: then all are done at about the same time."""


@dataclass(frozen=True)
class Rows:
    """Prompts and seeds of a confirmation, (n,) each."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompts)


def rows_of(texts: Sequence[str], count: int, seed: int, confirmation: int) -> Rows:
    """The first `count` rows of a study's confirmation (from 1) on these prompts. seed: the study's."""
    found: list[int] = []
    for cycle in range(math.ceil(count / len(texts))):
        first = (confirmation, cycle) == (1, 0)
        found += prompts.seeds(texts, seed, "confirm" if first else f"confirm {confirmation} {cycle}")
    return Rows(tuple(texts[row % len(texts)] for row in range(count)), tuple(found[:count]))


@dataclass(frozen=True)
class Draw:
    """The job of drawing and scoring a candidate on some rows. anew: whatever scores are cached."""

    candidate: Candidate
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    anew: bool = False

    def __call__(self, held: Evaluators, on_images: OnImages) -> Evaluation:
        evaluator = held.by_purpose["confirm"]
        return evaluator.measure(self.candidate, self.prompts, self.seeds, on_images, anew=self.anew)


@dataclass(frozen=True)
class Sample:
    """What a candidate got on n rows: per-image scores (n,), and features (n, frames·d) of what scores sets."""

    scores: dict[str, np.ndarray] = field(default_factory=dict)
    features: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter({**self.scores, **self.features}.values())))

    def table(self, rows: Rows, categories: Mapping[str, str]) -> pd.DataFrame:
        """Columns prompt, seed, the scores, category."""
        import pandas as pd

        texts, seeds = rows.prompts[: len(self)], rows.seeds[: len(self)]
        kinds = [categories.get(prompt, "") for prompt in texts]
        return pd.DataFrame({"prompt": texts, "seed": seeds, **self.scores, "category": kinds})


class HeldOut:
    """Draws candidates on the rows of one confirmation, and keeps what they got."""

    def __init__(
        self,
        folder: StudyFolder,
        crew: Crew,
        rows: Rows,
        *,
        workers: int = 1,
        block: int = 8,
        shared: bool = False,
        began: Callable[[str, int, int], None] = lambda what, images, left: None,
        failed: Callable[[int, str], None] = lambda number, reason: None,
        categories: Mapping[str, str] | None = None,
        judges: Collection[str] = (),
    ) -> None:
        """workers: of the crew; where it is several, ranges are of whole blocks. shared: whether other machines are of
        the crew, too: ranges are of one block, and who died of them is counted there. began: told (what, images, images
        after these) before each range, of all of a candidate's where they are shared. failed: told (trial number,
        reason) of a candidate whose images or scores are none here: it is left out. categories: by prompt. judges:
        what is scored beside the objectives.
        """
        self.folder, self.crew, self.rows, self.workers, self.block = folder, crew, rows, workers, block
        self._shared = shared
        self._began, self._failed, self._categories = began, failed, categories or {}
        self._judges = [list(judges)] if judges else []

    def samples(self, wanted: Mapping[int, Candidate], end: int) -> dict[int, Sample]:
        """What each candidate got on the first `end` rows, by trial number; the baseline's is BASE_KEY.

        Raises:
            UserError: the baseline could not be scored.
        """
        parts = {key: self._kept(key, candidate) for key, candidate in wanted.items()}
        waiting = [(key, *each) for key in wanted for each in self._missing(parts[key], end, len(wanted))]
        with InHand().until_the_end() as hands, ThreadPoolExecutor(1) as writer:
            self._draw(wanted, parts, waiting, hands, writer)
        found = {key: _joined(each, end) for key, each in parts.items()}
        for key, sample in found.items():
            self.folder.learn_held_out(_name(key), sample.table(self.rows, self._categories))
        return found

    def _draw(
        self,
        wanted: Mapping[int, Candidate],
        parts: dict[int, dict[int, Sample]],
        waiting: list[tuple[int, int, int]],
        hands: InHand,
        writer: ThreadPoolExecutor,
    ) -> None:
        """writer: its images are written while the next range is drawn, one range at a time."""
        written: Future[None] | None = None
        running: dict[int, tuple[int, int, int]] = {}
        jobs = 0

        def leave_out(key: int, reason: str, error: Exception | None = None) -> None:
            """As in a trial it costs this candidate, not the study."""
            if key == BASE_KEY:
                raise UserError(f"the baseline could not be scored on the held-out prompts: {reason}") from error
            self._failed(key, reason)
            del parts[key]
            waiting[:] = [each for each in waiting if each[0] != key]

        while waiting or running:
            while waiting and self.crew.free:
                key, begin, end = waiting.pop(0)
                file = self._file(key, begin)
                if hands.deaths(file) >= TRIES:
                    hands.drop(file)
                    leave_out(key, often(TRIES))
                    continue
                self._tell(key, end - begin, waiting, key in {each[0] for each in running.values()})
                jobs += 1
                running[jobs] = key, begin, end
                here, begun = slice(begin, end), hands.begun(file)
                if not self._shared:
                    hands.take(file)
                self.crew.submit(jobs, Draw(wanted[key], self.rows.prompts[here], self.rows.seeds[here], anew=begun))
            for job, found in self.crew.wait() if running else ():
                key, begin, end = running.pop(job)
                file = self._file(key, begin)
                if isinstance(found, WorkerDied):
                    hands.died(file)
                if isinstance(found, WorkerDied) and hands.deaths(file) < TRIES and key in parts:
                    waiting.insert(0, (key, begin, end))
                    continue
                if key in parts and not isinstance(found, Exception):
                    parts[key][begin] = sample = _sample(found)
                    if written is not None:
                        written.result()
                    written = writer.submit(self._keep, key, wanted[key], begin, found, sample, hands)
                    continue
                hands.drop(file)
                if key in parts and isinstance(found, Exception):  # else another of its ranges failed before
                    leave_out(key, " ".join(str(found).split()) or type(found).__name__, found)
        if written is not None:
            written.result()

    def _tell(self, key: int, images: int, waiting: Sequence[tuple[int, int, int]], begun: bool) -> None:
        """That a range is begun; where all of a candidate's are handed out at once, of all of them together."""
        left, of_it = (
            sum(end - begin for _, begin, end in each) for each in (waiting, [one for one in waiting if one[0] == key])
        )
        if not self._shared:
            self._began(_said(key), images, left)
        elif not begun:
            self._began(_said(key), images + of_it, left - of_it)

    def _missing(self, parts: Mapping[int, Sample], end: int, candidates: int) -> list[tuple[int, int]]:
        """(begin, end) of the ranges to draw: whole for one worker, else so small that all have some."""
        there = {row for begin, part in parts.items() for row in range(begin, begin + len(part))}
        missing = [row for row in range(end) if row not in there]
        most = len(missing)
        if self._shared:
            most = self.block
        elif self.workers > 1:
            blocks = len(missing) * candidates / self.block
            most = self.block * max(1, math.floor(blocks / (ROUNDS * self.workers)))
        found = []
        for _, group in groupby(enumerate(missing), lambda pair: pair[1] - pair[0]):
            places = [row for _, row in group]
            found += [(places[i], places[min(i + most, len(places)) - 1] + 1) for i in range(0, len(places), most)]
        return found

    def _keep(
        self, key: int, candidate: Candidate, begin: int, found: Evaluation, sample: Sample, hands: InHand
    ) -> None:
        drawn = found.images if found.images is not None and len(found.images) == found.n else None
        self.folder.write_held_out_images(_name(key), begin, found.n, drawn)
        arrays: dict[str, Any] = {f"score:{name}": each for name, each in sample.scores.items()}
        arrays |= {f"features:{name}": each for name, each in sample.features.items()}
        with replacing(self._file(key, begin)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, stamp=self._stamp(candidate, begin, found.n), **arrays)
        hands.drop(self._file(key, begin))

    def _kept(self, key: int, candidate: Candidate) -> dict[int, Sample]:
        """Ranges that were drawn before, by their first row; not those of another candidate or other rows: a number
        goes to another candidate where a study lost its database.
        """
        found: dict[int, Sample] = {}
        for file in sorted(self._file(key, 0).parent.glob(f"{_name(key)}-*.npz")):
            try:
                begin = int(file.stem.rpartition("-")[2])
                with np.load(file) as kept:
                    parts: dict[str, dict[str, np.ndarray]] = {"score": {}, "features": {}}
                    for name in kept:
                        kind, _, metric = name.partition(":")
                        if metric:
                            parts[kind][metric] = kept[name]
                    sample = Sample(parts["score"], parts["features"])
                    if str(kept["stamp"]) == self._stamp(candidate, begin, len(sample)):
                        found[begin] = sample
            except (OSError, EOFError, ValueError, KeyError, StopIteration) as error:
                raise UserError(f"{file} can't be read ({error}): remove it to have it made again") from error
        return found

    def _stamp(self, candidate: Candidate, begin: int, count: int) -> str:
        """What a range was drawn from."""
        here = slice(begin, begin + count)
        made = [candidate.as_dict(), self.rows.prompts[here], self.rows.seeds[here], *self._judges]
        return json.dumps(made, sort_keys=True)

    def _file(self, key: int, begin: int) -> Path:
        return self.folder.confirm_part(f"{_name(key)}-{begin:05d}")


def _sample(found: Evaluation) -> Sample:
    assert found.per_image is not None
    names = [str(name) for name in found.per_image if name not in ("prompt", "seed")]
    scores = {name: found.per_image[name].to_numpy() for name in names}
    return Sample(scores, {name: each.reshape(found.n, -1) for name, each in found.features.items()})


def _said(key: int) -> str:
    return BASE if key == BASE_KEY else f"trial {key}"


def _name(key: int) -> str:
    return BASE if key == BASE_KEY else f"{key:04d}"


def _joined(parts: Mapping[int, Sample], end: int) -> Sample:
    """The first `end` rows of the parts, each row once."""
    begins = sorted(parts)
    places = np.concatenate([np.arange(begin, begin + len(parts[begin])) for begin in begins])
    rows, first = np.unique(places, return_index=True)
    first = first[rows < end]

    def of(kind: Callable[[Sample], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        names = kind(parts[begins[0]])
        return {name: np.concatenate([kind(parts[begin])[name] for begin in begins])[first] for name in names}

    return Sample(of(lambda each: each.scores), of(lambda each: each.features))
