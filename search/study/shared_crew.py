"""A crew of all machines that share a study: what one of them needs is drawn by all that are free.

It is for what everybody waits for: the baseline, its spread from seed to seed, what is drawn on held-out prompts. The
machine that needs it posts it in pieces (search/storage/posted_work.py) and works on them itself; those that wait
meanwhile take pieces, too (`help`). A piece that was drawn is kept with the study, so a machine that dies costs the
pieces in its hands alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import UserError
from freeu import Candidate
from search.evaluation import Evaluation
from search.storage.posted_work import MOST
from search.study.held_out import Draw
from search.study.pieces import Piece
from search.study.recovery import often
from search.workers import Crew, WorkerDied
from search.workers.crew import Job

if TYPE_CHECKING:
    from optuna import Study

    from search.storage.optuna_storage import Storage
    from search.storage.posted_work import PostedWork

POLL = 0.5
"""Seconds between two looks at what others have done."""


class SharedCrew:
    """As `search.workers.Crew` has it, but that it takes any number of pieces. What is no piece its own crew does."""

    def __init__(self, crew: Crew, posted: PostedWork, helped: Callable[[], None] = lambda: None) -> None:
        """crew: of this machine. helped: told once, when this machine begins on what another one posted."""
        self._crew, self._posted, self._helped = crew, posted, helped
        self._wanted: dict[str, tuple[Piece | Draw, list[int]]] = {}  # by name, with the keys they were submitted under
        self._ended: list[tuple[int, Any]] = []
        self._own: list[tuple[int, Job]] = []  # what is no piece
        self._hands: dict[int, str | int] = {}  # the crew's keys → names of pieces, keys of what is none
        self._failed: set[str] = set()  # pieces that can't be done here
        self._given, self._told = 0, False

    @property
    def free(self) -> int:
        return 1

    def submit(self, key: int, job: Job) -> None:
        if not isinstance(job, Piece | Draw):
            self._own.append((key, job))
            return
        text = written(job)
        name = hashlib.sha256(text.encode()).hexdigest()
        self._wanted.setdefault(name, (job, []))[1].append(key)
        self._failed.discard(name)
        self._posted.post(name, text)

    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        until = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            self._hand_out()
            self._look()
            if self._hands and not self._ended:
                self._take_in(POLL)
            elif not self._ended:
                time.sleep(POLL)
            if self._ended or time.monotonic() >= until:
                ended, self._ended = self._ended, []
                return ended

    def help(self) -> bool:
        """Take part in what others posted, as long as there is something. False where there was nothing."""
        self._hand_out()
        if not self._hands:
            return False
        if not self._told:
            self._told = True
            self._helped()
        while self._hands:
            self._take_in()
            self._hand_out()
        return True

    def close(self) -> None:
        """Give back what it has in hand. Its own crew goes on."""
        for name in self._hands.values():
            if isinstance(name, str):
                self._posted.give_back(name)
        self._hands.clear()

    def clear(self) -> None:
        """What was posted is known by now."""
        self._posted.clear()

    def _hand_out(self) -> None:
        """To every worker that is free, as long as there is something."""
        while self._crew.free:
            if self._own:
                self._begin(*self._own.pop(0))
            elif taken := self._posted.take(self._failed):
                name, text, begun = taken
                job = read(text)
                self._begin(name, replace(job, anew=True) if begun and isinstance(job, Draw) else job)
            else:
                return

    def _begin(self, name: str | int, job: Job) -> None:
        self._given += 1
        self._hands[self._given] = name
        self._crew.submit(self._given, job)

    def _take_in(self, seconds: float | None = None) -> None:
        """What of that ended."""
        for key, found in self._crew.wait(seconds):
            name = self._hands.pop(key)
            if isinstance(name, int):
                self._ended.append((name, found))
            elif isinstance(found, Exception):
                self._posted.give_back(name, " ".join(str(found).split()) or type(found).__name__)
                if not isinstance(found, WorkerDied):
                    self._failed.add(name)
                    self._end(name, found)
            else:
                if not self._own_draw(name):
                    self._posted.keep(name, packed(found))
                self._end(name, found)

    def _look(self) -> None:
        """What others did of what is wanted here."""
        for name, found in self._posted.ended(self._wanted).items() if self._wanted else ():
            lost = UserError(str(found or often(MOST)))
            self._end(name, unpacked(found) if isinstance(found, bytes) else lost)

    def _end(self, name: str, found: Any) -> None:
        if self._own_draw(name):
            self._posted.drop(name)
        _, keys = self._wanted.pop(name, (None, []))
        self._ended += [(key, found) for key in keys]

    def _own_draw(self, name: str) -> bool:
        """Whether it is one that this machine asked for and keeps itself: large images, which the study is not to hold
        for longer than it takes to hand them over."""
        return name in self._wanted and isinstance(self._wanted[name][0], Draw)


@contextmanager
def all_machines(
    storage: Storage, optuna: Study, crew: Crew, helped: Callable[[], None]
) -> Iterator[SharedCrew | None]:
    """The crew with those of the other machines, where a study may have some. What it has in hand is given back at the
    end."""
    if not storage.shared:
        yield None
        return
    everyone = SharedCrew(crew, storage.posted(optuna), helped)
    try:
        yield everyone
    finally:
        with storage.ending():
            everyone.close()


def written(job: Piece | Draw) -> str:
    """A job as text."""
    return json.dumps(vars(job) | {"candidate": job.candidate.as_dict()}, sort_keys=True)


def read(text: str) -> Piece | Draw:
    """The inverse of `written`."""
    given: dict[str, Any] = json.loads(text)
    candidate = Candidate.from_dict(given.pop("candidate"))
    if "begin" in given:
        return Piece(candidate, **given)
    prompts, seeds = (tuple(given.pop(name)) for name in ("prompts", "seeds"))
    return Draw(candidate, prompts, seeds, **given)


def packed(found: Evaluation) -> bytes:
    """An evaluation without values, to the bit."""
    import pandas as pd

    table = found.per_image if found.per_image is not None else pd.DataFrame()
    arrays = {f"score:{name}": column.to_numpy() for name, column in table.items() if name != "prompt"}
    arrays |= {f"features:{name}": each for name, each in found.features.items()}
    images = [] if found.images is None else found.images
    arrays |= {f"image:{row:05d}": each.cpu().numpy() for row, each in enumerate(images)}
    about = {name: getattr(found, name) for name in ("n", "seconds", "unet_evaluations", "peak_memory")}
    stream = io.BytesIO()
    arrays["about"] = np.array(json.dumps([about, [str(each) for each in table.get("prompt", ())]]))
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def unpacked(kept: bytes) -> Evaluation:
    """The inverse of `packed`."""
    import pandas as pd
    import torch

    from search.storage.image_grid import together

    with np.load(io.BytesIO(kept)) as arrays:
        about, texts = json.loads(str(arrays["about"]))
        parts: dict[str, dict[str, np.ndarray]] = {"score": {}, "features": {}, "image": {}}
        for name in arrays.files:
            kind, _, key = name.partition(":")
            if key:
                parts[kind][key] = arrays[name]
    table = pd.DataFrame({"prompt": texts, **parts["score"]})
    images = [torch.from_numpy(each) for each in parts["image"].values()]
    return Evaluation(
        {}, per_image=table, features=parts["features"], images=together(images) if images else None, **about
    )
