"""One run of a study put together: settings, plan, workers, the study itself, tracking, and what a person sees."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from configs import UserError
from configs.cli import INTERRUPTED
from configs.console import say
from freeu import Candidate
from search.evaluation import interrupts
from search.evaluation.first_read import read_once
from search.evaluation.loading import CACHE, Known, Load, assemble, known, load_parts
from search.settings import drafts, fingerprints, weights
from search.settings.job import check_enough, prepare
from search.settings.kept import kept_fingerprint, seal
from search.storage import TrialRecord, shared_trials
from search.storage.files import sweep, write_json
from search.storage.mlflow_location import holds
from search.storage.optuna_storage import TRACKING, Storage
from search.storage.quiet import quiet
from search.study import measured_first, printed_result
from search.study.budget import Budget
from search.study.conclusion import concluded
from search.study.coordinator import Coordinator
from search.study.plan import plan
from search.study.shared_crew import SharedCrew, all_machines
from search.terminal.progress import Progress
from search.tracking import Tracker
from search.tracking.background import BackgroundTracker, Lock, stamp
from search.tracking.description import describe
from search.voting.booth import with_votes
from search.workers import Crew, SingleWorker, done
from search.workers.processes import processes

if TYPE_CHECKING:
    from rich.console import Console

    from configs.devices import Device
    from search.settings.config import StudyConfig
    from search.settings.job import Job
    from search.study.plan import Plan

OnTrial = Callable[[TrialRecord], None]
TURN = 60.0  # seconds that a machine waits for another one to have logged


class Session:
    """Everything of a run that stands beside the study itself."""

    def __init__(
        self,
        planned: Plan,
        load: Load,
        progress: Progress,
        tracking: BackgroundTracker,
        began: float,
        on_trial: OnTrial | None = None,
    ) -> None:
        """load: makes model and metrics. began: of the run, by time.monotonic. on_trial: is told each that ends."""
        self.on_trial = on_trial
        self.plan, self.job, self.config, self.folder = planned, planned.job, planned.job.config, planned.job.folder
        self.load, self.progress, self.tracking, self.began = load, progress, tracking, began
        self.storage = Storage(self.folder, self.config.storage, say=progress.say)

    def run(self) -> dict[str, Any]:
        """The result, as result.json holds it; MLflow's run is not ended yet. Raises UserError, KeyboardInterrupt."""
        if self.storage.shared and (before := self.storage.known("fingerprint")) is not None:
            fingerprints.check_same(self.config.name, before, self.job.fingerprint)
        self.tracking.open()
        with self._crew() as crew:
            told = done(crew, known)
            self._on(told.device)
            if told.too_long:
                shown = ", ".join(f"'{text[:60]}…'" for text in told.too_long[:3])
                more = f" and {len(told.too_long) - 3} more" if len(told.too_long) > 3 else ""
                self.progress.say(
                    f"warning: prompts longer than the text encoder takes, so their ends are cut off: {shown}{more}"
                )
            if told.untold:
                self.progress.say(
                    f"can't tell the weights of {' and '.join(told.untold)}: no score is kept beyond this study, and a "
                    "resume doesn't notice other weights; give it an attribute identity (docs/own-model.md)"
                )
            for note in told.notes:
                self.progress.say(note)
            for name, floor in told.floors.items():
                self.progress.say(f"the floor: real images score {name} {floor:.4g} at n = {len(self.job.prompts)}")
            return self._searched(crew, told)

    def _on(self, device: Device) -> None:
        """Takes over what the workers run on, and says it where the plan could not know."""
        before, self.job = self.job.device, replace(self.job, device=device)
        self.plan = replace(self.plan, job=self.job)
        if device.model or device.kind != before.kind:
            self.progress.say(f"on {device.in_words()}{self.plan.pace() if device.kind != before.kind else ''}")

    @contextmanager
    def _crew(self) -> Iterator[Crew]:
        load = functools.partial(assemble, self.load, self.job)
        own = self.load is load_parts
        if self.config.ray is not None:
            from search.workers.ray_actors import actors

            crew: Crew = actors(load, self.config.ray, self.config.workers, self.config.device)
        elif self.config.workers > 1:
            if own:
                read_once(self.job.spec, self.progress)  # else each worker would
            crew = processes(load, self.config.workers, self.config.device)
        else:
            if own:
                read = functools.partial(read_once, screen=self.progress)
                load = functools.partial(assemble, functools.partial(load_parts, before=read), self.job)
            crew = SingleWorker(load(), self.progress.images)
        try:
            yield crew
        finally:
            crew.close()

    def _searched(self, crew: Crew, told: Known) -> dict[str, Any]:
        job, config, identity = self.job, self.config, told.identity
        fingerprint = {**job.fingerprint, "weights": identity, "scorer_weights": told.scorer_weights}
        if told.device.dtype:
            fingerprint["numbers"] = told.device.dtype
        fingerprint |= {"judge_weights": told.judge_weights} if told.judge_weights else {}
        self._agree(fingerprint)
        seal(job, fingerprint)
        study = Coordinator(
            self.storage,
            job.directions,
            prompts=len(job.prompts),
            space=job.space,
            sampler=config.sampler,
            seed=config.seed,
            fixed=job.fixed,
            watcher=_Watcher(self),
            race=config.racing,
            workers=config.workers,
        )
        helped = functools.partial(self.progress.say, "taking part in what all machines of the study wait for")
        with all_machines(self.storage, study.trials.optuna, crew, helped) as everyone:
            return self._decided(study, crew, everyone, describe(job, fingerprint, identity), identity)

    def _decided(
        self, study: Coordinator, crew: Crew, everyone: SharedCrew | None, described: Any, identity: str
    ) -> dict[str, Any]:
        job, config = self.job, self.config
        together: Crew = everyone or crew
        meanwhile = everyone.help if everyone is not None else lambda: False
        measuring = self.progress.measuring
        shifts = measured_first.shifts(study, job, together, meanwhile, measuring) if config.guardrails else None
        records = study.records()
        self.progress.resume(records)
        self.tracking.start(described, records, _tracking_lock(self.storage))
        interrupts.check()
        budget = Budget(self.plan, self.began, self.progress.say)
        low = None
        if job.low is not None:
            self.progress.say(f"measuring the baseline for the first rung: {drafts.in_words(job, job.low)}")
            low = measured_first.draft(study, job, job.low, together)
        study.run(crew, config.trials, budget, shifts, low, everyone)
        records = study.records()
        if not any(record.complete for record in records):
            raise UserError("no trial completed: raise --minutes")
        key = f"result of {sum(record.complete for record in records)}, with scores"
        end = functools.partial(concluded, study, self.plan, together, identity, budget, shifts)
        found = study.agreed(key, lambda: end(began=self.progress.confirming, said=self.progress.say), meanwhile)
        if everyone is not None:
            everyone.clear()
        result: dict[str, Any] = found["result"]
        for name, packed in found["held_out"].items():
            table, before = shared_trials.unpacked_table(packed), self.folder.read_held_out(name)
            if before is None or not before[["prompt", "seed"]].equals(table[["prompt", "seed"]]):
                self.folder.write_held_out_images(name, 0, 0 if before is None else len(before), None)  # of other rows
                self.folder.learn_held_out(name, table)
        result = with_votes(self.folder, result)  # of a study that went on
        write_json(self.folder.result, result)  # last: from now on the study counts as finished
        return result

    def _agree(self, fingerprint: dict[str, Any]) -> None:
        """Where machines share the study, refuse other settings than theirs before anything is written or queued."""
        if self.storage.shared:
            with quiet(self.storage):
                study = self.storage.open(self.job.directions)
                before = self.storage.once(study, "fingerprint", lambda: fingerprint)
            fingerprints.check_same(self.config.name, before, fingerprint)


class _Watcher:
    """Hands what the study tells to the progress and to MLflow."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None:
        self._session.progress.began(number, origin, candidate, images)
        self._session.tracking.catch_up()

    def ended(self, record: TrialRecord) -> None:
        self._session.progress.ended(record)
        self._session.tracking.trial(record)
        if self._session.on_trial is not None:
            self._session.on_trial(record)

    def elsewhere(self, record: TrialRecord) -> None:
        self._session.progress.ended(record)

    def said(self, text: str) -> None:
        self._session.progress.say(text)


def run_study(
    config: StudyConfig, console: Console, load: Load | None = None, on_trial: OnTrial | None = None
) -> dict[str, Any]:
    """Run a study, or resume it, to its result (as result.json holds it). load: makes model and metrics. on_trial: is
    told each trial that ends."""
    began = time.monotonic()
    job = prepare(config)
    if load is None:
        check_enough(job)
        weights.check(job.spec, job.metrics)
    planned, config = plan(job), job.config
    sweep(job.folder.root, config.mlruns / CACHE)
    tracker = Tracker(config.mlruns, config.name, config.tracking_uri)
    if (result := planned.result) is not None:
        say(console, planned.finished)
        _catch_up(job, BackgroundTracker(tracker, job.folder, functools.partial(say, console)), result)
        printed_result.show(console, job, result)
        return result
    # On a server the study is everyone's, and its storage holds the locks.
    with nullcontext() if config.storage else job.folder.locked():
        planned.show(console)
        once = planned.passes * planned.once(planned.searched)
        cheap = drafts.named(job.low)[0] if job.low is not None else ""
        progress = Progress(console, job.directions, config.trials, len(job.prompts), once, planned.confirmed, cheap)
        progress.resume(job.folder.read_trials())
        tracking = BackgroundTracker(tracker, job.folder, progress.say)
        try:
            with progress:
                result = Session(planned, load or load_parts, progress, tracking, began, on_trial).run()
            printed_result.show(console, job, result)
            tracking.finish(result, job.folder.read_trials())  # nobody's result waits for a slow server
        except KeyboardInterrupt:
            again = "to begin: no trial had begun"  # nothing is there yet, as while the model loads
            if result is not None:
                again = f"to log the rest to {tracker.settings.place}"
            elif job.folder.config.exists():
                again = f"to resume study '{config.name}'"
            say(console, f"interrupted: run the same command again {again}")
            tracking.interrupt()
            raise typer.Exit(INTERRUPTED) from None
        except BaseException:
            tracking.interrupt()
            raise
    return result


def _catch_up(job: Job, tracking: BackgroundTracker, result: dict[str, Any]) -> None:
    """Log what MLflow lacks of a finished study, as where it was away: it is a view of the study's folder."""
    place, records = tracking.tracker.settings, job.folder.read_trials()
    numbers = [record.number for record in records]
    if holds(place, job.config.name, stamp(result), numbers) if place.own else tracking.has(result, records):
        return
    with job.folder.locked():
        described = describe(job, kept_fingerprint(job.folder), str(result["model_identity"]))
        storage = Storage(job.folder, job.config.storage, say=tracking.say)
        tracking.start(described, records, _tracking_lock(storage), live=False)
        tracking.finish(result, records)


def _tracking_lock(storage: Storage) -> Lock:
    """One machine at a time logs a study."""
    return functools.partial(storage.lock, TRACKING, patience=TURN) if storage.shared else nullcontext
