"""The protocol of a crew: it takes jobs, each a function of what a worker holds, and returns their results.

It has no queue: submit a job only if a worker is free. If a worker dies, its job comes back as `WorkerDied`, and
another worker takes its place. `SingleWorker` is a crew of one, this process; search/workers/processes.py has processes
of this machine, search/workers/ray_actors.py actors on a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from search.evaluation import Evaluation, Evaluators, OnImages, Task

TRIES = 3  # of a job whose worker dies


class WorkerDied(RuntimeError):
    """The process doing a job ended before the job was done."""


Job = Callable[[Evaluators, OnImages], Any]
"""What a worker does; where it is done elsewhere it is pickled, and `OnImages` reaches nobody."""


@dataclass(frozen=True)
class Evaluate:
    """The job of a task."""

    task: Task

    def __call__(self, held: Evaluators, on_images: OnImages) -> Evaluation:
        return held.evaluate(self.task, on_images)


class Crew(Protocol):
    """Takes jobs as long as someone is free."""

    @property
    def free(self) -> int:
        """How many jobs it would begin at once."""
        ...

    def submit(self, key: int, job: Job) -> None:
        """Begin a job. key: names it in `wait`."""
        ...

    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        """(key, what the job returned or the exception that ended it) of those that ended; none where a worker came to
        be free, or after `seconds`. Raises KeyboardInterrupt, and UserError where a worker can't be had.
        """
        ...

    def close(self) -> None:
        """Ends all workers; what is in their hands is lost."""
        ...


def done(crew: Crew, job: Job) -> Any:
    """Do one job with an idle crew, and return its result; retry if its worker dies. Raises what the job raises."""
    found: Any = None
    for _ in range(TRIES):
        while not crew.free:
            crew.wait()
        crew.submit(0, job)
        ended: list[tuple[int, Any]] = []
        while not ended:
            ended = crew.wait()
        found = ended[0][1]
        if not isinstance(found, WorkerDied):
            break
    if isinstance(found, Exception):
        raise found
    return found


class SingleWorker:
    """A crew of one: this process does the job when `wait` is called."""

    def __init__(self, held: Evaluators, on_images: OnImages = lambda done: None) -> None:
        self._held, self._on_images = held, on_images
        self._job: tuple[int, Job] | None = None

    @property
    def free(self) -> int:
        return 0 if self._job else 1

    def submit(self, key: int, job: Job) -> None:
        self._job = key, job

    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        assert self._job is not None
        key, job = self._job
        self._job = None
        try:
            return [(key, job(self._held, self._on_images))]
        except Exception as error:  # whatever a model or metric raises
            return [(key, error)]

    def close(self) -> None:
        """Nothing to end."""
