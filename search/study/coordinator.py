"""The coordinator of a study: it has candidates evaluated, rung by rung, and judges them. Safe to kill at any instant.

A trial goes: ask → evaluate → write its files → tell → track. search/study/trials.py asks, writes and tells; a `Crew`
evaluates; search/study/ladder.py says what a trial does next. This file knows no model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from configs import UserError
from freeu import Candidate
from search.evaluation import Evaluation, Task
from search.evaluation.evaluator import LOW
from search.optimizer.space import Space
from search.settings import rungs
from search.storage import TrialRecord
from search.storage.optuna_storage import Storage
from search.storage.quiet import quiet
from search.storage.trial_record import INTERRUPTED
from search.study.fewer_steps import Draft
from search.study.ladder import Ladder, Shifts
from search.study.pieces import Piece, gathered, joined, pieces
from search.study.queue import FATAL
from search.study.running import Running, Watcher
from search.study.trials import Trials
from search.workers import Crew, Evaluate, WorkerDied

if TYPE_CHECKING:
    from search.storage.image_grid import Images
    from search.study.shared_crew import SharedCrew

PATIENCE = 3  # failures in a row
POLL = 1.0  # seconds between two looks at what others do


class Coordinator:
    """One study. Opening it creates it, or puts right what a killed process left. Hold the folder's lock."""

    def __init__(
        self,
        storage: Storage,
        directions: Mapping[str, str],
        *,
        prompts: int,
        space: Space,
        sampler: str,
        seed: int,
        fixed: Sequence[tuple[str, Candidate]],
        watcher: Watcher,
        race: bool = False,
        workers: int = 1,
    ) -> None:
        """directions: objective → "up" or "down". prompts: number in a whole evaluation. fixed: (origin, candidate) of
        the first candidates, the baseline first; they are evaluated on all prompts, but for the baseline under other
        sampling settings. Text after a colon in an
        origin only tells candidates of one origin apart. workers: that share what there is to draw.
        """
        self.storage, self.directions = storage, dict(directions)
        self.rungs = rungs.rungs(prompts) if race else (prompts,)
        self.cuts = rungs.cuts(self.rungs, workers)
        self.shared_cuts = rungs.cuts(self.rungs, workers, storage.shared)
        self.watcher = watcher
        self._whole = {origin.partition(":")[0] for origin, each in fixed if each.baseline or not each.off}
        self._running: dict[int, Running] = {}
        self._ready: list[tuple[int, Evaluate | Piece]] = []  # of a trial, for whoever is free next
        self._out: dict[int, tuple[int, Evaluate | Piece]] = {}  # in a worker's hands, by the crew's key
        self._sent = 0
        self.trials = Trials(
            storage, directions, space=space, sampler=sampler, seed=seed, fixed=fixed, elsewhere=watcher.elsewhere
        )
        self.records, self.complete, self.agreed = self.trials.records, self.trials.complete, self.trials.agreed

    def run(
        self,
        crew: Crew,
        trials: int,
        go_on: Callable[[Sequence[TrialRecord], int], bool] = lambda records, running: True,
        shifts: Shifts | None = None,
        low: Draft | None = None,
        everyone: SharedCrew | None = None,
    ) -> None:
        """Run until `trials` are complete, or go_on(records so far, trials running) returns False; it is asked before
        each trial. shifts: the guardrails. low: with what candidates begin, if not with whole images; see
        search/study/fewer_steps.py. everyone: where machines share the study, `crew` with theirs.

        Raises:
            UserError: three trials in a row failed, or the baseline did; says why.
            KeyboardInterrupt: the trials in flight go on with the next run; on a server their candidates are queued
                again, for whoever is there.
        """
        self._failures, self._everyone = 0, everyone
        self._ladder = Ladder(
            self.trials, self.directions, self.rungs, self._whole, shifts, low, said=self.watcher.said
        )
        with quiet(self.storage):
            try:
                while True:
                    self._told_fatal()
                    wanted = go_on(self.records(), len(self._running))
                    while crew.free and (self._ready or (wanted and self._begin(trials))):
                        self._submit(crew, *self._ready.pop(0))
                        wanted = wanted and go_on(self.records(), len(self._running))
                    # Else workers are at work, or still coming.
                    idle = not self._running and not self._out and bool(crew.free)
                    if idle and not (wanted and self._others(trials)):
                        if wanted and self.complete() < trials and self.trials.exhausted():
                            self.watcher.said(f"the search ends: {self.trials.sampler} has nothing left to try")
                        return
                    self._wait(crew, idle)
            except (KeyboardInterrupt, Failing):
                with self.storage.ending():
                    self._interrupted()
                raise
            except Exception:  # as a full disk: no candidate's doing
                if not self.storage.shared:
                    self._interrupted()
                raise

    def _wait(self, crew: Crew, idle: bool) -> None:
        """Until something of ours ended; where the study is shared, no longer than a look at the others takes."""
        if idle:
            if self._everyone is None or not self._everyone.help():
                time.sleep(POLL)
        else:
            for key, found in crew.wait(POLL if self.storage.shared else None):
                self._took(*self._out.pop(key), found)
        self.trials.look()

    def _others(self, trials: int) -> bool:
        """Whether what is needed is in others' hands, or may come to be in ours."""
        return self.storage.shared and self.complete() < trials and self.trials.coming()

    # To begin a trial

    def _begin(self, trials: int) -> bool:
        """Ask for a candidate. False if enough are complete or running, or the baseline is not done yet."""
        asked = self.trials.ask(trials, len(self._running))
        if asked is None:
            return False
        self._running[asked.trial.number] = Running(asked)
        self._send_on(asked.trial.number, None)
        return True

    def _submit(self, crew: Crew, number: int, job: Evaluate | Piece) -> None:
        task = job.task if isinstance(job, Evaluate) else job
        if task.begin < task.end:  # else all is drawn
            asked = self._running[number].asked
            self.watcher.began(number, asked.origin, asked.candidate, task.end - task.begin)
        self._sent += 1
        self._out[self._sent] = number, job
        crew.submit(self._sent, job)

    def _send_on(self, number: int, before: Evaluation | None) -> None:
        """A trial's next task, in as many pieces as it has."""
        running = self._running[number]
        running.task = self._ladder.task(running, before)
        if self._everyone is not None and running.asked.candidate.baseline:
            self._drawn_by_all(number, running.task, self._everyone)
            return
        parts = pieces(running.task, self.cuts)
        if len(parts) == 1:
            self._ready.append((number, Evaluate(running.task)))
            return
        running.pieces = dict.fromkeys(part.begin for part in parts)
        self._ready += [(number, part) for part in parts]

    def _drawn_by_all(self, number: int, task: Task, everyone: SharedCrew) -> None:
        """The baseline: until it is there nobody has anything else to do."""
        running = self._running[number]
        self.watcher.began(number, running.asked.origin, task.candidate, task.end)
        try:
            whole, drawn = gathered(everyone, task, self.shared_cuts)
        except Exception as error:  # whatever a model or metric raises
            self._took(number, Evaluate(task), error)
            return
        if drawn.images is not None:
            running.images.append(drawn.images)
        self._ready.append((number, Evaluate(whole)))

    # After a rung

    def _took(self, number: int, job: Evaluate | Piece, found: Any) -> None:
        if number not in self._running:
            return  # another piece of it failed
        if isinstance(found, WorkerDied):
            self._given_back(number, str(found))
        elif isinstance(found, Exception):
            reason = " ".join(str(found).split()) or "no message"
            self._failed(number, reason if isinstance(found, UserError) else f"{type(found).__name__}: {reason}")
        elif isinstance(job, Piece):
            self._gathered(number, job, found)
        else:
            self._judge(number, found)

    def _gathered(self, number: int, piece: Piece, found: Evaluation) -> None:
        """Once all pieces of a task are there, have its values computed before anything else."""
        running = self._running[number]
        running.pieces[piece.begin] = found
        there = {begin: each for begin, each in running.pieces.items() if each is not None}
        if running.task is not None and len(there) == len(running.pieces):
            whole, drawn = joined(running.task, there)
            running.pieces = {}
            if drawn.images is not None and running.task.purpose != LOW:
                running.images.append(drawn.images)
            self._ready.insert(0, (number, Evaluate(whole)))

    def _judge(self, number: int, found: Evaluation) -> None:
        """Send a trial on to the next rung, or end it."""
        running, scores = self._running[number], {name: found.values[name].value for name in self.directions}
        if broken := [f"{name} is {value}" for name, value in scores.items() if not math.isfinite(value)]:
            self._failed(number, ", ".join(broken))
            return
        low = running.task is not None and running.task.purpose == LOW
        if found.images is not None and not low:
            running.images.append(found.images)
        ended = self._ladder.judged(number, found, self._running)
        if ended is None:
            self._send_on(number, None if low else replace(found, images=None))
            return
        record = running.complete(ended.found, self.directions, ended.shifts)
        self._failures = 0
        self._kept(record, ended.found, running.images)
        self._ladder.measured()

    # To end a trial

    def _failed(self, number: int, reason: str) -> None:
        running = self._running[number]
        self._kept(running.failure(reason))
        self._failures += 1
        if running.asked.candidate.baseline:
            raise Failing(f"the baseline failed, and all candidates are compared with it: {reason}")
        if self._failures == PATIENCE:
            raise Failing(f"{PATIENCE} trials in a row failed, the last one with: {reason}")

    def _given_back(self, number: int, reason: str) -> None:
        """Tell a trial as failed, and queue its candidate again."""
        running = self._running[number]
        deaths = running.asked.deaths + (reason != INTERRUPTED)
        if deaths == FATAL:
            self._failed(number, f"{reason}, {deaths} times")
            return
        self._dropped(number)
        record = running.failure(reason)
        if self.trials.given_back(running.asked, record, deaths):
            self.watcher.ended(record)

    def _interrupted(self) -> None:
        """Leave the trials in flight to the next run, or to others."""
        for number in tuple(self._running):
            if self.storage.shared:
                self._given_back(number, INTERRUPTED)
            else:
                self.trials.interrupted(self._dropped(number).asked)

    def _told_fatal(self) -> None:
        """Say which candidates ended process after process. Raises Failing where the baseline did."""
        for record in self.trials.fatal():
            self.watcher.said(f"trial {record.number} counts as failed: {record.reason}")
            if record.candidate.baseline:
                raise Failing(f"the baseline failed, and all candidates are compared with it: {record.reason}")

    def _dropped(self, number: int) -> Running:
        """A trial that runs no longer; what it has in workers' hands counts for nothing."""
        self._ready = [each for each in self._ready if each[0] != number]
        return self._running.pop(number)

    def _kept(self, record: TrialRecord, found: Evaluation | None = None, images: Sequence[Images] = ()) -> None:
        """Write a trial of ours down and tell it; drop it where others have taken it for lost meanwhile."""
        from search.storage.image_grid import together

        asked = self._running[record.number].asked
        if self.storage.shared:  # from here on it may be told, and is not to be given back
            self._dropped(record.number)
        if sum(len(part) for part in images) != record.images:
            images = ()  # the others' scores were known: a grid of some would pass for one of all
        per_image = found.per_image if found is not None else None
        features = found.features if found is not None and record.candidate.baseline else None
        drawn = together([each for part in images for each in part]) if images else None
        ended = self.trials.ended(asked, record, per_image, features, drawn)
        if record.number in self._running:
            self._dropped(record.number)
        if ended:
            self.watcher.ended(record)


class Failing(UserError):
    """Trials fail for a reason that will fail the next ones, too."""
