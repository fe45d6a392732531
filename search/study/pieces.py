"""A task in pieces, so that many workers share it. Put together, they are what one worker would have found.

A piece is drawn and scored image by image, without values: those need all images, and are computed once they are there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from freeu import Candidate
from search.evaluation import Evaluation, Evaluators, OnImages, Task
from search.evaluation.evaluator import merged
from search.workers import Crew, Evaluate, WorkerDied, done
from search.workers.crew import TRIES


@dataclass(frozen=True)
class Piece:
    """The job of drawing and scoring some of a task's prompts, from `begin` to before `end`."""

    candidate: Candidate
    begin: int
    end: int
    purpose: str

    def __call__(self, held: Evaluators, on_images: OnImages) -> Evaluation:
        evaluator, here = held.by_purpose[self.purpose], slice(self.begin, self.end)
        return evaluator.measure(self.candidate, evaluator.prompts[here], evaluator.seeds[here], on_images)


def pieces(task: Task, cuts: Sequence[int]) -> list[Piece]:
    """The pieces of a task, in order. cuts: where prompts are cut, as `search.settings.rungs.cuts` has them."""
    ends = [*(cut for cut in cuts if task.begin < cut < task.end), task.end]
    begins = [task.begin, *ends[:-1]]
    return [Piece(task.candidate, begin, end, task.purpose) for begin, end in zip(begins, ends, strict=True)]


def joined(task: Task, found: Mapping[int, Evaluation]) -> tuple[Task, Evaluation]:
    """(the task with nothing left to draw, what was drawn), by its pieces' beginnings."""
    drawn = merged([found[begin] for begin in sorted(found)])
    before = merged([*([] if task.before is None else [task.before]), replace(drawn, images=None)])
    return replace(task, before=before), drawn


def shared_out(crew: Crew, task: Task, cuts: Sequence[int]) -> Evaluation:
    """A task done by an idle crew, all of which take part. Raises what a worker raises."""
    if len(pieces(task, cuts)) == 1:
        alone: Evaluation = done(crew, Evaluate(task))
        return alone
    whole, found = gathered(crew, task, cuts)
    valued: Any = done(crew, Evaluate(whole))
    return replace(valued, images=found.images)


def gathered(crew: Crew, task: Task, cuts: Sequence[int]) -> tuple[Task, Evaluation]:
    """`joined` of a task's pieces, drawn by an idle crew. Raises what a worker raises."""
    waiting, running = pieces(task, cuts), dict[int, Piece]()
    found, deaths, jobs = dict[int, Evaluation](), Counter[int](), 0
    failed: BaseException | None = None
    while running or (waiting and failed is None):
        while waiting and crew.free and failed is None:
            jobs += 1
            running[jobs] = waiting.pop(0)
            crew.submit(jobs, running[jobs])
        for job, ended in crew.wait():
            piece = running.pop(job)
            deaths[piece.begin] += isinstance(ended, WorkerDied)
            if isinstance(ended, WorkerDied) and deaths[piece.begin] < TRIES:
                waiting.append(piece)
            elif isinstance(ended, Exception):
                failed = ended
            else:
                found[piece.begin] = ended
    if failed is not None:
        raise failed
    return joined(task, found)
