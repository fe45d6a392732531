"""A study that coordinators share on a PostgreSQL server: deaths, a restart of the server, what others learn."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.testing.pytest_storages import StorageTestCase
from rich.console import Console

from configs import UserError
from freeu import IDENTITY, Candidate, Factors
from search.evaluation import Evaluation, Evaluators, Task
from search.optimizer.space_file import default
from search.session import run_study
from search.settings.config import StudyConfig
from search.storage import StudyFolder, TrialRecord, Value
from search.storage.addresses import hidden
from search.storage.optuna_storage import Storage
from search.storage.reconnecting import ReconnectingStorage
from search.storage.server_address import server
from search.storage.shared_trials import packed, unpacked
from search.study.coordinator import Coordinator
from search.study.queue import FATAL
from search.study.trials import Trials
from search.workers import SingleWorker
from tests.postgres import Server
from tests.postgres import server as postgres
from tests.search.fakes import FakeGenerator, metrics, settings
from tests.search.study.test_coordinator import PUBLISHED, Silent

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with postgres() as found:
        yield found


def coordinator(url: str, folder: Path, name: str, trials: int, seconds: float, lease: float = 3.0) -> Coordinator:
    """One of several: it notes each candidate that it has evaluated."""

    def evaluate(task: Task, on_images: object) -> Evaluation:
        time.sleep(seconds)
        if "DEADLY" in os.environ and task.candidate.factors == PUBLISHED:
            os._exit(7)
        values = {
            "clip": Value(-((task.candidate.factors.b1 - 1.3) ** 2), 0.1, 4, "up"),
            "fid": Value(task.candidate.factors.s1, 0.1, 4, "down"),
        }
        table = pd.DataFrame({"prompt": ["a"], "seed": [1], "clip": [task.candidate.factors.b1]})
        return Evaluation(values, 4, table, {"fid": np.ones((4, 2))}, seconds={"total": seconds})

    study = Coordinator(
        Storage(StudyFolder(folder, name), url, lease),
        {"clip": "up", "fid": "down"},
        prompts=4,
        space=default(),
        sampler="random",
        seed=0,
        fixed=[("baseline", Candidate(IDENTITY)), ("published", Candidate(PUBLISHED))],
        watcher=Silent(),
    )
    study.run(SingleWorker(Evaluators({"search": evaluate})), trials)
    return study


if __name__ == "__main__":  # URL FOLDER NAME TRIALS SECONDS
    coordinator(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    raise SystemExit(0)


def begin(url: str, folder: Path, name: str, trials: int, seconds: float, **env: str) -> subprocess.Popen[bytes]:
    module = "tests.search.storage.test_shared_trials"
    command = [sys.executable, "-m", module, url, str(folder), name, str(trials), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **env})


def checked(url: str, name: str, trials: int) -> list[TrialRecord]:
    """Each candidate finished once, none lost, none running."""
    study = optuna.load_study(study_name=name, storage=server(url))
    states = Counter(trial.state.name for trial in study.trials)
    assert states["RUNNING"] == 0
    assert states["COMPLETE"] == trials
    records = [
        TrialRecord.from_dict(json.loads(t.user_attrs["record"])) for t in study.trials if "record" in t.user_attrs
    ]
    complete = [record.factors for record in records if record.complete]
    assert len(set(complete)) == len(complete) == trials
    # What a dead coordinator had in its hands was finished by another.
    lost = [record.factors for record in records if not record.complete]
    waiting = [
        default().candidate(t.system_attrs["fixed_params"]).factors for t in study.trials if t.state.name == "WAITING"
    ]
    assert set(lost) <= set(complete) | set(waiting)
    assert len([each for each in complete if each.identity]) == 1
    return records


def killed(processes: list[subprocess.Popen[bytes]], how_many: int) -> None:
    for process in random.Random(0).sample(processes, how_many):
        process.send_signal(signal.SIGKILL)
        time.sleep(1)


def test_a_candidate_that_ends_machine_after_machine(running: Server, tmp_path: Path) -> None:
    """It goes from one to the next three times; then it counts as failed, and the study goes on."""
    codes = []
    for number in range(FATAL + 1):
        codes.append(begin(running.url, tmp_path / str(number), "deadly", 4, 0.0, DEADLY="1").wait(280))
    assert codes == [7] * FATAL + [0]
    study = optuna.load_study(study_name="deadly", storage=server(running.url))
    told = [TrialRecord.from_dict(json.loads(t.user_attrs["record"])) for t in study.trials if "record" in t.user_attrs]
    reasons = [record.reason for record in told if record.factors == PUBLISHED]
    assert [str(reason).partition(", 3")[0] for reason in reasons] == ["its process ended before it did"] * FATAL
    assert "3 times" in str(reasons[-1]) and sum(record.complete for record in told) == 4


def test_coordinators_die(running: Server, tmp_path: Path) -> None:
    """Three of them, of which one is killed; the slow test below is the large one."""
    trials = 24
    processes = [begin(running.url, tmp_path / str(n), "die", trials, 0.3) for n in range(3)]
    while len(list(tmp_path.glob("*/studies/die/trials/*.json"))) < 6:
        time.sleep(0.1)
    killed(processes, 1)
    assert sorted(process.wait(120) for process in processes) == [-9, 0, 0]
    records = checked(running.url, "die", trials)
    for folder in tmp_path.iterdir():  # those that lived know of all
        kept = StudyFolder(folder, "die").read_trials()
        assert len(kept) == len(records) or processes[int(folder.name)].returncode == -9


@pytest.mark.slow
def test_eight_coordinators_of_whom_three_die(running: Server, tmp_path: Path) -> None:
    processes = [begin(running.url, tmp_path / str(n), "eight", 100, 1.0) for n in range(8)]
    while len(list(tmp_path.glob("*/studies/eight/trials/*.json"))) < 8:
        time.sleep(0.1)
    killed(processes, 3)
    assert sorted(process.wait(300) for process in processes) == [-9] * 3 + [0] * 5
    checked(running.url, "eight", 100)


def test_the_server_is_restarted(tmp_path: Path) -> None:
    with postgres() as own:
        processes = [begin(own.url, tmp_path / str(n), "again", 16, 0.3) for n in range(2)]
        while len(list(tmp_path.glob("*/studies/again/trials/*.json"))) < 4:
            time.sleep(0.1)
        own.stop()
        time.sleep(3)
        own.start()
        assert [process.wait(120) for process in processes] == [0, 0]
        checked(own.url, "again", 16)


def test_a_trial_that_others_ended_meanwhile_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that restarts lets go of the lock: between the look and the word somebody took the trial for lost."""
    monkeypatch.setattr(Storage, "shared", True)
    fixed = [("baseline", Candidate(IDENTITY))]
    more = {"space": default(), "sampler": "random", "seed": 0, "fixed": fixed, "elsewhere": lambda record: None}
    trials = Trials(Storage(StudyFolder(tmp_path, "s")), {"clip": "up"}, **more)
    asked = trials.ask(9, 0)
    assert asked is not None
    seen = trials.optuna._storage.get_trial(asked.trial._trial_id)
    trials.optuna.tell(asked.trial.number, state=optuna.trial.TrialState.FAIL)
    monkeypatch.setattr(trials.optuna._storage, "get_trial", lambda trial_id: seen)
    record = TrialRecord(0, asked.candidate.factors, "baseline", "COMPLETE", {"clip": Value(1.0, 0.1, 4, "up")})
    assert not trials.ended(asked, record)
    assert not trials.storage.folder.record_file(0).exists()


def test_a_second_machine_finds_all_that_the_first_did(running: Server, tmp_path: Path) -> None:
    """Whole runs, from the settings to the verdict, each with a results folder of its own."""
    first, second = FakeGenerator(), FakeGenerator()
    shared = {"storage": running.url, "limit": 16, "trials": 10, "objectives": "clip,aesthetic,fid"}
    found = run(settings(tmp_path / "one", **shared), first)
    assert first.calls
    assert run(settings(tmp_path / "two", **shared), second) == found
    assert second.calls == []
    one, two = (StudyFolder(tmp_path / name / "mlruns", "small") for name in ("one", "two"))
    assert [r.as_dict() for r in two.read_trials()] == [r.as_dict() for r in one.read_trials()]
    assert two.read_features().keys() == {"fid"}
    confirmed = [name for name in ("baseline", "0001", "0002") if one.read_held_out(name) is not None]
    assert confirmed[0] == "baseline"  # so `compare` and `report` work on the machine that did not confirm
    for name in confirmed:
        pd.testing.assert_frame_equal(two.read_held_out(name), one.read_held_out(name), check_exact=True)
    assert one.held_out_image("baseline", 0).exists() and not two.held_out_image("baseline", 0).exists()
    assert "secret" not in one.config.read_text() and "tester@127.0.0.1" in one.config.read_text()
    more = FakeGenerator()
    assert run(settings(tmp_path / "two", **shared | {"trials": 11}), more)["trials"] == 11
    assert all(len(prompts) <= 16 and not factors.identity for factors, prompts, _ in more.calls[:1])
    here = {key: value for key, value in shared.items() if key != "storage"}
    with pytest.raises(UserError, match=r"'small' is on the server postgresql://tester@.*: give it with --storage"):
        run(settings(tmp_path / "two", **here), more)
    assert len(two.read_trials()) == 11  # or it would begin anew over them
    run(settings(tmp_path / "four", **here), more)
    with pytest.raises(UserError, match="'small' is kept in its folder: leave out --storage"):
        run(settings(tmp_path / "four", **shared), more)
    with pytest.raises(UserError, match="was begun with other settings"):
        run(settings(tmp_path / "three", **shared | {"seed": 1}), FakeGenerator())


def run(config: StudyConfig, generator: FakeGenerator) -> dict[str, Any]:
    console = Console(file=io.StringIO(), width=200)
    return run_study(config, console, lambda config, spec: (generator, metrics(config)))


def test_what_is_shared_comes_back(tmp_path: Path) -> None:
    record = TrialRecord(3, Factors(1.1, 1, 1, 1), "gp", "COMPLETE", {"clip": Value(0.1 + 0.2, 0.1, 4, "up")})
    table = pd.DataFrame({"prompt": ['a "quote"', "é"], "seed": [1, 2**31 - 1], "clip": [(0.1 + 0.2) / 70, 1e-17]})
    numbers = table.assign(prompt=["007", "1984"])  # texts all the same
    pd.testing.assert_frame_equal(unpacked(packed(record, numbers))[1], numbers, check_exact=True)
    attrs = packed(record, table, {"fid": np.eye(2) / 3})
    assert list(attrs)[-1] == "record"
    again, scores, features = unpacked(attrs)
    assert again.as_dict() == record.as_dict()
    pd.testing.assert_frame_equal(scores, table, check_exact=True)
    assert (features["fid"] == np.eye(2) / 3).all()


@pytest.mark.parametrize("url", ["mysql://me:secret@host/db", "somewhere", "sqlite:///a.db"])
def test_another_server_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UserError, match="expected postgresql://") as said:
        server(url)
    assert "secret" not in str(said.value)
    for written in (
        "postgresql://me:secret@host:5/db",
        "postgresql://me:se@cret@host:5/db",
        "postgresql://me:secret@host:5/db?sslmode=require&password=secret",
    ):
        assert hidden(written) == "postgresql://me@host:5/db"
    assert hidden("postgresql://me:sec?ret@host/db") == "postgresql://me@host/db"
    assert hidden("postgresql://host/db?user=me&password=sec@ret") == "postgresql://host/db"
    assert hidden("http://host:5000") == "http://host:5000" and hidden("sqlite:///a.db") == "sqlite:///a.db"


def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"postgresql\+psycopg://me@127.0.0.1:1/db can't be used") as said:
        coordinator("postgresql://me:secret@127.0.0.1:1/db", tmp_path, "none", 1, 0)
    assert "secret" not in str(said.value)


class TestPatientStorage(StorageTestCase):
    """Optuna's own contract suite."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[ReconnectingStorage]:
        kept = ReconnectingStorage(f"sqlite:///{tmp_path}/optuna.db")
        yield kept
        kept.remove_session()
        kept.engine.dispose()
