"""What a study measures before its first trial: the baseline's spread from seed to seed, and drafts of it.

All workers, and all machines that share the study, draw them together.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from freeu import IDENTITY, Candidate
from search.evaluation import Evaluation, Task, guardrails
from search.evaluation.evaluator import LOW
from search.settings import drafts
from search.study.fewer_steps import Draft
from search.study.pieces import shared_out

if TYPE_CHECKING:
    import pandas as pd

    from freeu import Sampling
    from search.settings.job import Job
    from search.study.coordinator import Coordinator
    from search.study.ladder import Shifts
    from search.workers import Crew


def shifts(
    study: Coordinator, job: Job, crew: Crew, meanwhile: Callable[[], bool], measuring: Callable[[int], None]
) -> Shifts:
    """The guardrails, by the baseline's spread, which is measured once a study. meanwhile: what those do that wait for
    it. measuring: told the number of images before they are drawn."""
    import pandas as pd

    n = len(job.prompts)

    def measure(task: Task) -> Evaluation:
        measuring(n)
        return shared_out(crew, task, study.shared_cuts)

    def make() -> str:
        return guardrails.spread(job.folder, n, measure).to_json(double_precision=15)

    again = pd.read_json(io.StringIO(study.agreed("spread", make, meanwhile)), precise_float=True)

    def shifts(found: pd.DataFrame, base: pd.DataFrame, whole: pd.DataFrame) -> dict[str, float]:
        return guardrails.shifts(found, base, again, whole)

    return shifts


def draft(study: Coordinator, job: Job, low: Sampling, crew: Crew) -> Draft:
    """What candidates begin with, and the baseline's on all prompts."""
    task = Task(Candidate(IDENTITY), len(job.prompts), purpose=LOW)
    return Draft(shared_out(crew, task, study.shared_cuts), drafts.pixels(job), *drafts.named(low))
