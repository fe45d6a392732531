"""One run of a study: from the checked job to the result. Loads the model, searches, confirms, logs."""

from __future__ import annotations

import functools
import getpass
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from configs import UserError
from freeu import IDENTITY, Factors
from search import config as settings
from search import confirm, guardrails, reproduce, stopping
from search import outbox as outboxes
from search.budget import Budget
from search.crew import Alone, Crew, Evaluate, done, processes
from search.evaluate import Evaluation, Task
from search.fidelity import LOW
from search.parts import Known, Load, assemble, known
from search.records import TrialRecord, write_json
from search.storage import Storage, hidden
from search.study import Shifts, Study
from search.track import Input

if TYPE_CHECKING:
    import pandas as pd

    from search.outbox import Outbox
    from search.plan import Job
    from search.progress import Progress


class Session:
    """Everything of a run that stands beside the study itself."""

    def __init__(self, job: Job, load: Load, progress: Progress, outbox: Outbox, began: float) -> None:
        """load: makes model and metrics. began: of the run, by time.monotonic."""
        self.job, self.config, self.folder = job, job.config, job.folder
        self.load, self.progress, self.outbox, self.began = load, progress, outbox, began
        self.storage = Storage(self.folder, self.config.storage)

    def run(self) -> dict[str, Any]:
        """The result, as result.json holds it. Raises UserError and KeyboardInterrupt."""
        self.outbox.open()
        with self._crew() as crew:
            told = done(crew, known)
            if told.too_long:
                shown = ", ".join(f"'{text[:60]}…'" for text in told.too_long[:3])
                more = f" and {len(told.too_long) - 3} more" if len(told.too_long) > 3 else ""
                self.progress.say(
                    f"warning: longer than the text encoder takes, so their ends are not seen: {shown}{more}"
                )
            if told.untold:
                self.progress.say(
                    f"can't tell the weights of {' and '.join(told.untold)}: no score is kept beyond this study, and a "
                    "resume doesn't notice other weights; give it an attribute identity (docs/own-model.md)"
                )
            for name, floor in told.floors.items():
                self.progress.say(
                    f"{name} of {len(self.job.prompts)} real images is {floor:.4g}: the least to hope for"
                )
            return self._searched(crew, told)

    @contextmanager
    def _crew(self) -> Iterator[Crew]:
        load = functools.partial(assemble, self.load, self.job)
        if self.config.ray is not None:
            from search.workers import actors

            crew: Crew = actors(load, self.config.ray, self.config.workers, self.job.plan.device)
        elif self.config.workers > 1:
            crew = processes(load, self.config.workers, self.job.plan.device)
        else:
            crew = Alone(load(), self.progress.images)
        try:
            yield crew
        finally:
            crew.close()

    def _searched(self, crew: Crew, told: Known) -> dict[str, Any]:
        job, config, identity = self.job, self.config, told.identity
        fingerprint = {**job.fingerprint, "weights": identity, "scorer_weights": told.scorer_weights}
        seal(job, fingerprint)
        study = Study(
            self.storage,
            job.directions,
            prompts=len(job.prompts),
            space=job.space,
            sampler=config.sampler,
            seed=config.seed,
            fixed=job.fixed,
            watcher=_Watcher(self),
            race=config.racing,
        )
        settings.same(config.name, study.agreed("fingerprint", lambda: fingerprint), fingerprint)
        shifts = self._shifts(study, crew) if config.guardrails else None
        records = study.records()
        self.progress.resume(records)
        lock = functools.partial(self.storage.lock, "track") if self.storage.shared else nullcontext
        follow(self.outbox, job, settings.stamp(fingerprint), identity, records, lock)
        stopping.check()
        budget = Budget(job.plan, job.space, job.directions, self.began, self.progress.say)
        study.run(crew, config.trials, budget, shifts, self._low(crew) if config.low_steps is not None else None)
        records = study.records()
        if not any(record.complete for record in records):
            raise UserError("no trial completed: raise --minutes")
        key = f"result of {sum(record.complete for record in records)}"
        result: dict[str, Any] = study.agreed(key, lambda: self._concluded(crew, identity, records))
        self.outbox.finish(result, records)
        write_json(self.folder.result, result)  # last: from now on the study counts as finished
        return result

    def _concluded(self, crew: Crew, identity: str, records: Sequence[TrialRecord]) -> dict[str, Any]:
        """Front, picks, confirmation, verdict."""
        from search.front import find
        from search.result import assembled

        job = self.job
        complete = [record for record in records if record.complete]
        front = find(complete, job.directions, job.space)
        picked = confirm.candidates(front.picks, {record.number: record.factors for record in complete})
        found = confirm.confirm(
            self.folder,
            crew,
            picked,
            n=len(job.held_out),
            seed=self.config.seed,
            began=self.progress.confirming,
            categories=job.categories,
            failed=lambda number, reason: self.progress.say(f"trial {number} could not be confirmed: {reason}"),
        )
        return assembled(job, identity, complete, front, found)

    def _low(self, crew: Crew) -> Evaluation:
        """No FreeU with few steps, on all prompts."""
        self.progress.say(f"measuring no FreeU with {self.config.low_steps} steps, for the first rung")
        found: Evaluation = done(crew, Evaluate(Task(IDENTITY, len(self.job.prompts), purpose=LOW)))
        return found

    def _shifts(self, study: Study, crew: Crew) -> Shifts:
        """The guardrails, by no FreeU's spread from seed to seed, which is measured once a study."""
        import pandas as pd

        n = len(self.job.prompts)

        def measure(task: Task) -> Evaluation:
            self.progress.measuring(n)
            found: Evaluation = done(crew, Evaluate(task))
            return found

        kept = study.agreed("spread", lambda: guardrails.spread(self.folder, n, measure).to_json(double_precision=15))
        again = pd.read_json(io.StringIO(kept), precise_float=True)

        def shifts(found: pd.DataFrame, base: pd.DataFrame, whole: pd.DataFrame) -> dict[str, float]:
            return guardrails.shifts(found, base, again, whole)

        return shifts


class _Watcher:
    """Hands what the study tells to the progress and to MLflow."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def began(self, number: int, origin: str, factors: Factors, images: int) -> None:
        self._session.progress.began(number, origin, factors, images)
        self._session.outbox.catch_up()

    def ended(self, record: TrialRecord) -> None:
        self._session.progress.ended(record)
        self._session.outbox.trial(record)

    def elsewhere(self, record: TrialRecord) -> None:
        self._session.progress.ended(record)

    def said(self, text: str) -> None:
        self._session.progress.say(text)


def seal(job: Job, fingerprint: Mapping[str, Any]) -> None:
    """Write the study's settings and its fingerprint. Raises UserError where it was begun with another."""
    import yaml

    from search.plan import kept_fingerprint
    from search.records import replacing

    if job.folder.config.exists():
        settings.same(job.config.name, kept_fingerprint(job.folder), fingerprint)
    kept = shown(job) | {"fingerprint": dict(fingerprint)}
    with replacing(job.folder.config) as temporary:
        temporary.write_text(yaml.safe_dump(kept, sort_keys=False), "utf-8")


def shown(job: Job) -> dict[str, Any]:
    """The settings as they are kept and logged: without a password."""
    kept = job.config.model_dump(mode="json")
    storage, uri = job.config.storage, job.config.tracking_uri
    given = {} if job.config.model == job.spec.name else {"model_given": job.config.model}
    return kept | {
        **given,
        "model": job.spec.name,
        "device": job.plan.device,
        "storage": None if storage is None else hidden(storage),
        "tracking_uri": None if uri is None else hidden(uri),
    }


def follow(
    outbox: Outbox,
    job: Job,
    fingerprint: str,
    identity: str,
    records: Sequence[TrialRecord],
    lock: Callable[[], AbstractContextManager[None]] = nullcontext,
    live: bool = True,
) -> None:
    """Have MLflow follow the study from now on. identity: of the model's weights; lock: against other machines."""
    config = {key: value for key, value in shown(job).items() if key != "mlruns"}  # a folder that may be moved
    tags = {
        "freeu.model_identity": identity,
        **{f"version.{name}": version for name, version in reproduce.versions().items()},
        "mlflow.source.name": "search.run",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": getpass.getuser(),
    }
    if (commit := reproduce.revision()) is not None:
        tags["mlflow.source.git.commit"] = commit
    told = outboxes.Study(config, fingerprint, tags, inputs(job, identity), job.directions, job.space)
    outbox.start(told, records, lock, live)


def inputs(job: Job, identity: str) -> list[Input]:
    """What the study reads: the base model, both halves of the prompt set, the reference where there is one."""
    spec, of, chosen = job.spec, job.fingerprint, job.plan.prompt_set
    source = f"{spec.source}@{spec.revision}" if spec.revision else str(spec.source)
    facts = {"kind": spec.kind, "resolution": spec.resolution, "steps": job.plan.steps, "guidance": job.plan.guidance}
    found = [
        Input("base model", spec.name, identity or "unknown", source, facts),
        Input("prompts", chosen, of["prompt_texts"], chosen, {"prompts": len(job.prompts)}),
        Input("held-out prompts", chosen, of["held_out_texts"], chosen, {"prompts": len(job.held_out)}),
    ]
    if spec.reference:
        told = json.dumps(spec.reference, sort_keys=True, default=str)
        found.append(Input("reference", f"reference of {spec.name}", settings.digest(told), told))
    return found
