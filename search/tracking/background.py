"""Brings MLflow up to date with the study's folder, in a thread of its own: the search never waits for it.

Where the server is away the study goes on. What it misses needs no list: the next attempt that reaches it asks what is
there and logs the rest, so each trial is there once in the end. The attempts are made after each trial, every ten
seconds, after longer and longer pauses where they fail, at the end, and when the same command is run again. Numbers
go first; a file that is refused holds nothing up (search/tracking/uploads.py).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from search.reporting import history_plots
from search.settings.fingerprints import digest
from search.storage import StudyFolder, TrialRecord, image_grid
from search.storage.leases import Busy
from search.tracking import Tracker, Unreachable
from search.tracking.tables import baseline
from search.tracking.trial_files import TrialFiles

if TYPE_CHECKING:
    from search.tracking.description import Description

EVERY = 10.0  # seconds between two looks at the machine, and between two attempts
SELDOM = 600.0  # the longest pause after attempts that failed
PARTING = 10.0  # seconds that a run which is interrupted waits for the last attempt
LIVE, SHARE = 20.0, 0.01  # the front is drawn anew at most so often, and takes at most this share of the time
LAST = 3.0  # seconds before the second of the two attempts at the end
MANY = 500  # trials that are logged while a person waits, without a word
KEPT = 2000  # readings of the machine that wait for a server: five hours and a half
PART = re.compile(r"(keep|log) .+? (at|in) ")  # what of a study's many parts an error is about
Lock = Callable[[], AbstractContextManager[None]]


class BackgroundTracker:
    """`open`, `start`, `trial` for each and `catch_up` now and then, then `finish` or `interrupt`."""

    def __init__(self, tracker: Tracker, folder: StudyFolder, say: Callable[[str], None]) -> None:
        self.tracker, self.folder, self.say = tracker, folder, say
        self._study: Description | None = None
        self._lock: Lock = nullcontext
        self._records: dict[int, TrialRecord] = {}
        self._result: dict[str, Any] | None = None
        self._killed = False
        self._told: set[str] = set()  # why MLflow lacks something
        self._pause, self._next = EVERY, 0.0  # after an attempt that failed, and when the next one may be
        self._sent: set[int] = set()  # trials whose files are all there
        self._readings: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=KEPT)
        self._drawn, self._draw_after = 0, 0.0  # trials on the front's page, and when it may be drawn again
        self._changed = threading.Condition()
        self._asked = self._answered = 0  # attempts
        self._well = True  # how the last one went
        self._refused = False  # all that is missing is files that the server does not take
        self._ending = False  # those that come are the last: no pause
        self._over = False  # there will be no more
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Reach MLflow before anything is generated. Raises UserError for errors that waiting won't fix.

        A results folder's first database takes seconds to make: the thread does it while images are made.
        """
        settings = self.tracker.settings
        if settings.own and not settings.database.exists():
            return
        try:
            self.tracker.open()
        except Unreachable as error:
            self._lacks(error)

    def start(
        self, study: Description, records: Sequence[TrialRecord], lock: Lock = nullcontext, live: bool = True
    ) -> None:
        """From now on MLflow follows. records: those from before. lock: against other machines; live: log the machine
        and the growing front."""
        self._study, self._lock = study, lock
        self._records = {record.number: record for record in records}
        self._thread = threading.Thread(target=self._work, args=(live,), name="MLflow", daemon=True)
        self._thread.start()
        self._ask()

    def trial(self, record: TrialRecord) -> None:
        """A trial has ended; its files are written. It goes there with the next `catch_up`."""
        with self._changed:
            self._records[record.number] = record

    def catch_up(self) -> None:
        """Now is a good time: images are being made, which leaves Python to others."""
        self._ask()

    def finish(self, result: Mapping[str, Any], records: Sequence[TrialRecord]) -> None:
        """Log all that is left. Returns when it is there, or a second attempt failed."""
        with self._changed:
            self._records |= {record.number: record for record in records}
            self._result = dict(result)
        self._last(0.0, LAST)

    def interrupt(self) -> None:
        """The study was interrupted: mark its run, and stop."""
        if self._thread is None:
            return
        with self._changed:
            self._killed = self._result is None
        self._last(0.0, longest=PARTING)

    def has(self, result: Mapping[str, Any], records: Sequence[TrialRecord]) -> bool:
        """Whether all of a finished study is in MLflow; true, with a word, where its server is away."""
        try:
            return self.tracker.has(stamp(result), [record.number for record in records])
        except Unreachable as error:
            self.say(f"warning: {error}: run the same command again to log what it lacks of this study")
            return True

    # In the main thread

    def _ask(self) -> int:
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
            return self._asked

    def _last(self, *pauses: float, longest: float | None = None) -> None:
        """An attempt after each pause, until one goes well; else the person is told what to do. The thread ends.

        longest: seconds that an attempt is waited for; to its end where None.
        """
        well = False
        with self._changed:
            self._ending = True
        for pause in pauses:
            time.sleep(pause)
            well = self._answered_well(self._ask(), longest)
            if well or self._refused:
                break
        with self._changed:  # or it would go on beside the one that the same command starts
            self._over = True
            self._changed.notify_all()
        self._thread = None
        if not well:
            missing = self.tracker.uploads.said()
            why = f": {missing}" if missing else ""
            place = self.tracker.settings.place
            self.say(f"warning: {place} lacks a part of this study{why}: run the command again to log it")

    def _answered_well(self, number: int, longest: float | None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._answered >= number, longest) and self._well

    # In the thread

    def _work(self, live: bool) -> None:
        from search.tracking.machine import Machine

        machine = None
        with suppress(Exception):  # whatever a driver raises: a study is there without it
            machine = Machine() if live else None  # reads all of MLflow: seconds that images don't wait for
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._asked > self._answered or self._over, EVERY)
                if self._over:
                    return
                asked = self._asked
            if machine is not None:
                with suppress(Exception):
                    self._readings.append((time.time(), machine.read()))
            well = (self._ending or time.monotonic() >= self._next) and self._attempt()
            with self._changed:
                self._answered, self._well = asked, well
                self._changed.notify_all()

    def _attempt(self) -> bool:
        """Whether all is there now that this machine has."""
        self.tracker.uploads.begin(self._ending)
        try:
            with self._lock():
                self._bring_up()
        except Busy as error:  # another machine logs; there is nothing to mend
            if self._ending:
                self.say(f"{error}: this one's part is not logged")
            return False
        except Exception as error:  # whatever it is: no study ends because it can't be logged
            self.tracker.forget()
            self._lacks(error)
            self._next, self._pause = time.monotonic() + self._pause, min(2 * self._pause, SELDOM)
            return False
        failed = self.tracker.uploads.failed.values()
        for failure in failed:
            self._lacks(failure.error)
        if self._told and not failed:
            self.say(f"MLflow is back: all {len(self._records)} trials so far are in {self.tracker.settings.place}")
            self._told = set()
        self._pause, self._refused = EVERY, bool(failed) and not self.tracker.uploads.waiting
        return not failed

    def _lacks(self, error: Exception) -> None:
        """Tell a person, each reason once until all is well again."""
        status = getattr(error, "status", None)
        silent = isinstance(error, Unreachable) and status is None
        reason = "silent" if silent else str(status or PART.sub("", str(error)))
        if reason not in self._told:
            self.say(f"warning: {error}: the study goes on, and what is missing is logged once MLflow can be reached")
        self._told.add(reason)

    def _bring_up(self) -> None:
        tracker, study = self.tracker, self._study
        assert study is not None, "start() comes first"
        with self._changed:
            records = [self._records[number] for number in sorted(self._records)]
            result, killed = self._result, self._killed
        if not tracker.started:
            tracker.start(
                study.config,
                study.fingerprint,
                study.tags,
                inputs=study.inputs,
                resolved=study.resolved,
                directions=study.directions,
                factors=[each.name for each in study.space.dimensions],
            )
        elif self._lock is not nullcontext or result is not None:
            tracker.look()
        base = baseline(records)
        missing = set(tracker.missing([record.number for record in records]))
        grown = history_plots.history(records, study.directions) if missing else {}
        for record in self._counted("numbers", [record for record in records if record.number in missing]):
            tracker.numbers(record, grown.get(record.number, {}), self._ended(record), base)
        readings = list(self._readings)
        if readings:
            tracker.machine(readings)
            for _ in readings:
                self._readings.popleft()
        if result is not None:
            tracker.finish(result, records)
        for record in self._counted("files", [record for record in records if record.number not in self._sent]):
            if tracker.files(self._has(record, base), self._ended(record)):
                self._sent.add(record.number)
        tracker.uploads.retry()
        if result is not None:
            tracker.stamp(stamp(result))
        elif killed:
            tracker.interrupt()
        else:
            self._live(records, study)

    def _counted(self, what: str, records: Sequence[TrialRecord]) -> Iterator[TrialRecord]:
        """Each; a person who waits for many is told how far it is."""
        for done, record in enumerate(records):
            if self._ending and done % MANY == 0 and len(records) > MANY:
                self.say(
                    f"{self.tracker.settings.place} gets the {what} of {len(records):,} trials: {done:,} are there"
                )
            yield record

    def _ended(self, record: TrialRecord) -> float:
        """When, by time.time."""
        file = self.folder.record_file(record.number)
        return file.stat().st_mtime if file.exists() else time.time()

    def _has(self, record: TrialRecord, base: TrialRecord | None) -> TrialFiles:
        """What this machine has of a trial's files."""
        grid, scores = self.folder.grid_file(record.number), self.folder.scores_file(record.number)
        difference = None
        if grid.exists() and base is not None and base is not record and record.complete:
            of_base = self.folder.grid_file(base.number)
            if of_base.exists():
                difference = partial(image_grid.difference, grid, record.images, of_base, base.images)
        return TrialFiles(
            record.number, grid if grid.exists() else None, scores if scores.exists() else None, difference
        )

    def _live(self, records: Sequence[TrialRecord], study: Description) -> None:
        """Draw the front so far, where there is something new and the last time is long enough ago."""
        done = [record for record in records if record.complete]
        if len(done) in (self._drawn, 1) or not any(r.feasible for r in done) or time.monotonic() < self._draw_after:
            return
        from search.optimizer import pareto_front
        from search.study.result import front_rows

        began = time.monotonic()
        found = pareto_front.find(done, study.directions, study.space)
        said = f"Running: {len(done)} of {study.config['trials']} trials are complete."
        rows = front_rows(done, found, study.directions, study.space)
        self.tracker.front({"objectives": dict(study.directions), "front": rows, "verdict": said}, records)
        took = time.monotonic() - began
        self._drawn, self._draw_after = len(done), time.monotonic() + max(LIVE, took / SHARE)


def stamp(result: Mapping[str, Any]) -> str:
    """A short name for a result, whatever people voted since: that is logged on its own."""
    return digest(json.dumps({name: value for name, value in result.items() if name != "votes"}, sort_keys=True))
