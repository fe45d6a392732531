"""Ask, evaluate, record, tell. Survives being killed at any instant.

A trial goes: ask → evaluate → write its files, the record last → tell → track. Whatever is still RUNNING when a
study starts belongs to a process that ended:
- its record is there: it was evaluated, so its values are told;
- it has its candidate: told as failed, and the candidate is queued again, once;
- it was killed while the candidate was being chosen: the same trial goes on.
So no candidate is lost and none is evaluated twice. Evaluating is a callable: this file knows no model.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from configs import UserError
from freeu import Factors
from search import samplers
from search.evaluate import Evaluation, OnImages
from search.records import StudyFolder, TrialRecord, Value
from search.space import Choice, Space

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

SOBOL = 6  # points before the sampler: with the fixed candidates, enough for a first model of four factors
PATIENCE = 3  # failures in a row
CONSTRAINT = "guardrails"
OUTSIDE = "outside"  # the factors of a fixed candidate that the space does not hold, as no FreeU in a narrow one
RETRY, SLOT, ORIGIN = "retry_of", "slot", "origin"


class Watcher(Protocol):
    """Told what happens, for progress and tracking."""

    def began(self, number: int, origin: str, factors: Factors) -> None: ...
    def images(self, done: float) -> None: ...
    def ended(self, record: TrialRecord) -> None: ...


Evaluate = Callable[[Factors, OnImages], Evaluation]


class Study:
    """One study in its folder. Opening it creates it, or reaps what a killed process left. Hold the lock."""

    def __init__(
        self,
        folder: StudyFolder,
        evaluate: Evaluate,
        directions: Mapping[str, str],
        *,
        space: Space,
        sampler: str,
        seed: int,
        fixed: Sequence[tuple[str, Factors]],
        watcher: Watcher,
    ) -> None:
        """directions: objective → "up" or "down". fixed: the first candidates, each with its origin; what stands behind
        a colon there tells those of one origin apart.
        """
        self.folder, self.evaluate, self.directions = folder, evaluate, dict(directions)
        self.space, self.sampler, self.seed = space, sampler, seed
        self.watcher = watcher
        with _quiet(folder):
            self._study = _opened(folder, self.directions)
            self._reap()
            self._queue(fixed)

    def records(self) -> list[TrialRecord]:
        """Every trial that ended, by number."""
        return self.folder.read_trials()

    def complete(self) -> int:
        """How many trials have values."""
        return sum(record.complete for record in self.records())

    def run(self, trials: int, go_on: Callable[[Sequence[TrialRecord]], bool] = lambda records: True) -> None:
        """Run until `trials` are complete, or until go_on(records so far) says no.

        Raises:
            UserError: three trials in a row failed; says why the last one did.
            KeyboardInterrupt: the trial in flight is told as failed, and its candidate is queued again.
        """
        records, failures = self.records(), 0
        while sum(record.complete for record in records) < trials and go_on(records):
            with _quiet(self.folder):
                record = self._trial()
            records.append(record)
            failures = 0 if record.complete else failures + 1
            if failures == PATIENCE:
                raise UserError(f"{PATIENCE} trials in a row failed, the last one so: {record.reason}")

    def _trial(self) -> TrialRecord:
        trial = self._ask()
        params = self.space.suggest(trial)
        factors = self._factors(trial.user_attrs, params)
        origin = str(trial.user_attrs.get(ORIGIN, self.sampler))
        self.watcher.began(trial.number, origin, factors)
        began = time.perf_counter()
        try:
            found = self.evaluate(factors, self.watcher.images)
            values = self._values(found)
        except KeyboardInterrupt:
            self._retry(trial.number, params, trial.user_attrs)
            record = self._failed(trial.number, factors, origin, "interrupted", time.perf_counter() - began)
            self.watcher.ended(record)
            raise
        except Exception as error:  # whatever a model or metric raises costs this trial, not the study
            reason = " ".join(str(error).split()) or "no message"
            reason = reason if isinstance(error, UserError) else f"{type(error).__name__}: {reason}"
            record = self._failed(trial.number, factors, origin, reason, time.perf_counter() - began)
        else:
            record = TrialRecord(
                trial.number,
                factors,
                origin,
                "COMPLETE",
                values,
                found.seconds,
                found.n,
                found.unet_evaluations,
                guardrails=found.guardrails,
            )
            self.folder.write_trial(record, found.per_image, found.images)
            self._tell(record)
        self.watcher.ended(record)
        return record

    def _ask(self) -> Trial:
        import optuna

        so_far = self._study.get_trials(deepcopy=False)
        self._study.sampler = samplers.build(self.sampler, self.seed, len(so_far), self.space)
        for left in so_far:
            if left.state == optuna.trial.TrialState.RUNNING:  # killed while its candidate was being chosen
                return optuna.trial.Trial(self._study, left._trial_id)
        return self._study.ask()

    def _values(self, found: Evaluation) -> dict[str, Value]:
        for name in self.directions:
            value = found.values[name].value
            if not math.isfinite(value):
                raise UserError(f"{name} is {value}")
        return {name: found.values[name] for name in self.directions}

    def _failed(self, number: int, factors: Factors, origin: str, reason: str, seconds: float = 0.0) -> TrialRecord:
        record = TrialRecord(number, factors, origin, "FAIL", seconds={"total": seconds}, reason=reason)
        self.folder.write_trial(record)
        self._tell(record)
        return record

    def _tell(self, record: TrialRecord) -> None:
        from optuna.trial import Trial, TrialState

        if record.complete and self.space.holds(record.factors):
            if record.guardrails:
                told = self._study.get_trials(deepcopy=False)[record.number]
                if CONSTRAINT not in told.constraints:
                    Trial(self._study, told._trial_id).set_constraint(CONSTRAINT, record.violation)
            self._study.tell(record.number, [record.values[name].value for name in self.directions])
        else:  # or it would teach the sampler of a point that it is not
            self._study.tell(record.number, state=TrialState.FAIL)

    def _reap(self) -> None:
        from optuna.trial import TrialState

        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            record = self.folder.read_trial(trial.number)
            if record is not None:
                self._tell(record)
            elif (params := self._candidate(trial)) is not None:
                origin = str(trial.user_attrs.get(ORIGIN, self.sampler))
                factors = self._factors(trial.user_attrs, params)
                self._retry(trial.number, params, trial.user_attrs)
                self._failed(trial.number, factors, origin, "its process ended before it did")

    def _factors(self, attrs: Mapping[str, Any], params: Mapping[str, Choice]) -> Factors:
        """A candidate's; one from outside of the space has them in its own attribute."""
        outside = attrs.get(OUTSIDE)
        return Factors.from_dict(outside) if outside is not None else self.space.factors(params)

    def _candidate(self, trial: FrozenTrial) -> dict[str, Choice] | None:
        """What the trial tries; None where its process died while it was being chosen."""
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        wanted = self.space.needed(params)
        return {name: params[name] for name in wanted} if wanted <= set(params) else None

    def _retry(self, number: int, params: Mapping[str, Choice], attrs: Mapping[str, Any]) -> None:
        # Before the trial is told as failed: killed between the two, the next start finds it queued already.
        if not any(trial.user_attrs.get(RETRY) == number for trial in self._study.get_trials(deepcopy=False)):
            kept = {name: attrs[name] for name in (OUTSIDE, ORIGIN) if name in attrs}
            self._study.enqueue_trial(dict(params), user_attrs={ORIGIN: self.sampler, **kept, RETRY: number})

    def _queue(self, fixed: Sequence[tuple[str, Factors]]) -> None:
        points = self.space.sobol(SOBOL, samplers.derived(self.seed, "sobol"))
        there = {trial.user_attrs.get(SLOT) for trial in self._study.get_trials(deepcopy=False)}
        for origin, factors in fixed:
            outside = {} if self.space.holds(factors) else {OUTSIDE: factors.as_dict()}
            self._enqueue(there, origin, origin, self.space.params(factors), outside)
        for number, point in enumerate(points):
            self._enqueue(there, f"sobol {number}", "sobol", point, {})

    def _enqueue(
        self, there: Collection[Any], slot: str, origin: str, params: Mapping[str, Choice], more: Mapping[str, Any]
    ) -> None:
        if slot not in there:
            kind = origin.partition(":")[0]
            self._study.enqueue_trial(dict(params), user_attrs={SLOT: slot, ORIGIN: kind, **more})


def _opened(folder: StudyFolder, directions: Mapping[str, str]) -> optuna.Study:
    """The study's Optuna storage. A new one is made under another name: killed meanwhile, none is there."""
    import optuna

    if not folder.database.exists():
        folder.root.mkdir(parents=True, exist_ok=True)
        part = folder.database.with_name("optuna.db.part")
        for left in folder.root.glob("optuna.db.part*"):
            left.unlink()
        storage = optuna.storages.RDBStorage(f"sqlite:///{part}")
        optuna.create_study(
            storage=storage,
            study_name=folder.name,
            directions=["maximize" if direction == "up" else "minimize" for direction in directions.values()],
        )
        storage.remove_session()
        storage.engine.dispose()
        part.rename(folder.database)
    storage = optuna.storages.RDBStorage(folder.optuna_url, engine_kwargs={"connect_args": {"timeout": 60}})
    return optuna.load_study(study_name=folder.name, storage=storage)


@contextmanager
def _quiet(folder: StudyFolder) -> Iterator[None]:
    """Optuna without its log lines and warnings, and its database's errors in one sentence."""
    import optuna
    import sqlalchemy.exc

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    broken = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    except (*broken, KeyError, RuntimeError) as error:
        if isinstance(error, KeyError | RuntimeError) and not _from_storage(error):
            raise
        cause = error.__cause__ or error
        reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        raise UserError(
            f"{folder.database} can't be used ({reason}): free the disk if it is full; if the file is damaged, move "
            f"{folder.root} away, or give another name with --study"
        ) from error


def _from_storage(error: BaseException) -> bool:
    """Whether a general error was raised by Optuna's storage: a table that is not there, another schema."""
    trace, last = error.__traceback__, ""
    while trace is not None:
        last, trace = trace.tb_frame.f_globals.get("__name__", ""), trace.tb_next
    return last.startswith("optuna.storages") or last.startswith("optuna.study")
