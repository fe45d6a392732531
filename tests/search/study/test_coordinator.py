"""The loop of trials, with a callable in place of a model: order, failures, interrupts, reaping, broken storage."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from configs import UserError
from freeu import IDENTITY, Candidate, Factors
from search.evaluation import Evaluation, Evaluators
from search.optimizer.space_file import default
from search.storage import StudyFolder, TrialRecord, Value, folder_database
from search.storage.optuna_storage import Storage
from search.study.coordinator import Coordinator
from search.study.ledger import Ledger
from search.workers import SingleWorker

PUBLISHED = Factors(1.3, 1.4, 0.9, 0.2)


class Silent:
    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None:
        pass

    def ended(self, record: TrialRecord) -> None:
        pass

    def elsewhere(self, record: TrialRecord) -> None:
        pass

    def said(self, text: str) -> None:
        pass


def good(factors: Factors) -> Evaluation:
    values = {
        "clip": Value(-((factors.b1 - 1.3) ** 2), 0.1, 4, "up"),
        "fid": Value(factors.s1 + factors.b2, math.nan, 4, "down"),
    }
    return Evaluation(values, 4, seconds={"total": 0.1}, unet_evaluations=40)


class Opened(Coordinator):
    """A study whose candidates a function evaluates, in this process."""

    def __init__(self, folder: Path, evaluate: Callable[[Factors], Evaluation], sampler: str, **more: Any) -> None:
        settings = {"space": default(), "seed": 0, "watcher": Silent(), "prompts": 4} | more
        fixed = [("baseline", Candidate(IDENTITY)), ("published", Candidate(PUBLISHED))]
        optuna_storage = Storage(StudyFolder(folder, "s"))
        super().__init__(optuna_storage, {"clip": "up", "fid": "down"}, sampler=sampler, fixed=fixed, **settings)
        self.evaluate = evaluate

    def run(self, trials: int, shifts: Any = None) -> None:
        parts = Evaluators({"search": lambda task, on_images: self.evaluate(task.candidate.factors)})
        super().run(SingleWorker(parts), trials, shifts=shifts)


def opened(
    folder: Path, evaluate: Callable[[Factors], Evaluation] = good, sampler: str = "random", **more: Any
) -> Opened:
    return Opened(folder, evaluate, sampler, **more)


def states(folder: Path) -> list[str]:
    study = optuna.load_study(study_name="s", storage=StudyFolder(folder, "s").optuna_url)
    return [trial.state.name for trial in study.trials if trial.state.name != "WAITING"]


def test_the_order_of_candidates_and_what_is_kept(tmp_path: Path) -> None:
    study = opened(tmp_path, sampler="gp")
    study.run(11)
    records = study.records()
    assert [r.origin for r in records] == ["baseline", "published", *["sobol"] * 6, *["gp"] * 3]
    assert records[0].factors.identity
    assert records[1].factors == PUBLISHED
    assert len({r.factors for r in records}) == 11
    assert records[4] == TrialRecord.from_dict(records[4].as_dict())
    assert math.isnan(records[4].values["fid"].spread)
    found = optuna.load_study(study_name="s", storage=study.storage.folder.optuna_url)
    assert [d.name for d in found.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [t.values for t in found.trials] == [[r.values["clip"].value, r.values["fid"].value] for r in records]


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "qmc", "nsga2"])
def test_a_resumed_study_is_the_study_that_was_never_stopped(tmp_path: Path, sampler: str) -> None:
    opened(tmp_path / "a", sampler=sampler).run(12)
    for trials in (1, 5, 9, 10, 12):
        opened(tmp_path / "b", sampler=sampler).run(trials)
    a, b = (opened(tmp_path / name, sampler=sampler).records() for name in "ab")
    assert a == b
    assert len({r.factors for r in a}) == 12


def test_more_trials_go_on_and_fewer_do_nothing(tmp_path: Path) -> None:
    opened(tmp_path).run(4)
    study = opened(tmp_path)
    study.run(3)
    assert study.complete() == 4
    study.run(6)
    assert study.complete() == 6


def test_a_failure_costs_its_trial_alone_and_is_kept_with_its_reason(tmp_path: Path) -> None:
    def sometimes(factors: Factors) -> Evaluation:
        if factors == PUBLISHED:
            raise RuntimeError("CUDA out of\nmemory")
        return good(factors)

    study = opened(tmp_path, sometimes)
    study.run(5)
    failed = [r for r in study.records() if not r.complete]
    assert [(r.origin, r.reason, r.values) for r in failed] == [("published", "RuntimeError: CUDA out of memory", {})]
    assert study.complete() == 5
    assert states(tmp_path).count("FAIL") == 1


def test_nan_is_a_failure(tmp_path: Path) -> None:
    def nan(factors: Factors) -> Evaluation:
        found = good(factors)
        if factors == PUBLISHED:
            found.values["clip"] = Value(math.nan, 0.1, 4, "up")
        return found

    study = opened(tmp_path, nan)
    study.run(2)
    assert [(r.state, r.reason) for r in study.records()][:2] == [("COMPLETE", None), ("FAIL", "clip is nan")]


def test_three_failures_in_a_row_end_the_study_with_the_reason(tmp_path: Path) -> None:
    calls = []

    def broken(factors: Factors) -> Evaluation:
        if factors.identity:
            return good(factors)
        calls.append(factors)
        raise ValueError("no such layer")

    with pytest.raises(UserError, match="3 trials in a row failed, the last one with: ValueError: no such layer"):
        opened(tmp_path, broken).run(10)
    assert len(calls) == 3
    opened(tmp_path).run(6)
    assert states(tmp_path) == ["COMPLETE"] + ["FAIL"] * 3 + ["COMPLETE"] * 5


def test_nothing_goes_without_no_freeu(tmp_path: Path) -> None:
    def broken(factors: Factors) -> Evaluation:
        raise ValueError("no such layer")

    for _ in range(2):
        with pytest.raises(UserError, match="the baseline failed, and all candidates are compared with it: ValueError"):
            opened(tmp_path, broken).run(3)
    study = opened(tmp_path)
    study.run(3)
    assert [r.origin for r in study.records() if not r.complete] == ["baseline"] * 2
    assert [r.origin for r in study.records() if r.complete] == ["published", "sobol", "baseline"]


def test_an_interrupted_candidate_comes_next(tmp_path: Path) -> None:
    seen = []

    def interrupted(factors: Factors) -> Evaluation:
        seen.append(factors)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return good(factors)

    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path, interrupted).run(9)
    study = opened(tmp_path)
    study.run(8)
    records = study.records()
    assert all(r.complete for r in records) and [r.number for r in records] == list(range(8))
    assert [r.factors for r in records][1] == PUBLISHED and len({r.factors for r in records}) == 8
    assert seen[1] == PUBLISHED


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


@pytest.mark.parametrize("where", ["ask", "evaluate", "before record", "after record", "after tell"])
@pytest.mark.parametrize("at", [0, 3, 8])
def test_killed_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, at: int) -> None:
    """A kill between any two steps: afterwards nothing is RUNNING, nothing is lost, nothing is evaluated twice."""
    evaluated: list[Factors] = []

    def evaluate(factors: Factors) -> Evaluation:
        if where == "evaluate" and len(evaluated) == at:
            raise Killed
        evaluated.append(factors)
        return good(factors)

    write, tell, suggest = StudyFolder.write_trial, Ledger.tell, optuna.trial.Trial.suggest_float

    def writing(self: StudyFolder, record: TrialRecord, *files: Any) -> None:
        if where == "before record" and record.number == at:
            raise Killed
        write(self, record, *files)

    def telling(self: Ledger, record: TrialRecord, trial: optuna.trial.Trial) -> None:
        if where == "after record" and record.number == at:
            raise Killed
        tell(self, record, trial)
        if where == "after tell" and record.number == at:
            raise Killed

    def suggesting(self: optuna.trial.Trial, name: str, *range: float, **more: Any) -> float:
        if where == "ask" and self.number == at and name == "b2":
            raise Killed
        return suggest(self, name, *range, **more)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(StudyFolder, "write_trial", writing)
        patch.setattr(Ledger, "tell", telling)
        patch.setattr(optuna.trial.Trial, "suggest_float", suggesting)
        opened(tmp_path, evaluate).run(11)
    where_was, where = where, "nowhere"
    study = opened(tmp_path, evaluate)
    study.run(11)
    records = study.records()
    complete = [r.factors for r in records if r.complete]
    assert len(complete) == len(set(complete)) == 11
    assert IDENTITY in complete
    assert PUBLISHED in complete
    assert sum(r.origin == "sobol" for r in records if r.complete) == 6
    assert set(states(tmp_path)) <= {"COMPLETE", "FAIL"}
    assert states(tmp_path) == [r.state for r in records]
    twice = len(evaluated) - len(set(evaluated))
    assert twice == (1 if where_was == "before record" else 0)  # only what had not been written down


def test_a_broken_database_or_record_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_database, "SECONDS_BUSY", 1)
    opened(tmp_path).run(2)
    folder = StudyFolder(tmp_path, "s")
    folder.record_file(1).write_text('{"number": 1}')
    with pytest.raises(UserError, match=r"0001\.json is not a trial's record"):
        opened(tmp_path)
    folder.record_file(1).unlink()
    for content in (b"not a database at all, but long enough to be looked at" * 20, b""):
        folder.database.write_bytes(content)
        with pytest.raises(UserError, match=r"optuna\.db can't be used"):
            opened(tmp_path)


def test_a_lock_that_its_holder_took_away_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opened the file just before holds one that others don't see."""
    folder = StudyFolder(tmp_path, "s")
    seen = [False, True]
    monkeypatch.setattr("search.storage.study_lock.os.path.samestat", lambda *files: seen.pop(0))
    with folder.locked():
        assert not seen
        with pytest.raises(UserError, match="is being run"), StudyFolder(tmp_path, "s").locked():
            pass
    assert not folder.root.exists()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    with folder.locked():
        with pytest.raises(UserError, match="study 's' is being run by process"), StudyFolder(tmp_path, "s").locked():
            pass
        with StudyFolder(tmp_path, "other").locked():
            pass
    with folder.locked():
        pass


def test_what_a_power_cut_took_from_the_database_comes_again(tmp_path: Path) -> None:
    """The write-ahead log is not forced to the disk: the database may be older than the records."""
    opened(tmp_path, sampler="gp").run(9)
    folder = StudyFolder(tmp_path, "s")
    older = tmp_path / "older.db"
    with sqlite3.connect(folder.database) as now, sqlite3.connect(older) as copy:
        now.backup(copy)
    opened(tmp_path, sampler="gp").run(12)
    whole = opened(tmp_path, sampler="gp").records()
    for file in folder.root.glob("optuna.db*"):
        file.unlink()
    older.rename(folder.database)
    study = opened(tmp_path, sampler="gp")
    assert study.complete() == 9
    study.run(12)
    assert study.records() == whole
