"""Several machines on a real PostgreSQL: one is suspended, connections drop, two share a folder, one mistypes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import torch
from rich.console import Console
from sqlalchemy.exc import OperationalError

from configs import UserError
from freeu import IDENTITY, Candidate, Factors
from search.optimizer.space_file import default
from search.session import run_study
from search.storage import StudyFolder, TrialRecord, Value, bounded_connection, waiting
from search.storage.files import write_json
from search.storage.leases import Busy, LeaseLost
from search.storage.optuna_storage import Storage
from search.storage.server_address import server
from search.study.trials import Trials
from tests.postgres import Server
from tests.postgres import server as postgres
from tests.proxy import Tcp
from tests.search.fakes import FakeGenerator, metrics, settings

ROOT = Path(__file__).parents[3]
GOALS = {"clip": "up"}
SUSPENDED = 6.0
"""Seconds of a lease that a busy machine renews in time, until it is stopped."""


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with postgres() as found:
        yield found


def opened(url: str, folder: Path, say: Callable[[str], None] = lambda text: None, lease: float = 60.0) -> Trials:
    """A machine of study "s"."""
    more = {"space": default(), "sampler": "random", "seed": 0, "elsewhere": lambda record: None}
    fixed = [("baseline", Candidate(IDENTITY))]
    return Trials(Storage(StudyFolder(folder, folder.name), url, lease, say), GOALS, fixed=fixed, **more)


if __name__ == "__main__":  # URL FOLDER: agrees on a result, which takes until FOLDER/go is there
    home = Path(sys.argv[2])

    def make() -> str:
        (home / "begun").touch()
        while not (home / "go").exists():
            threading.Event().wait(0.05)
        return "the first one's"

    print(opened(sys.argv[1], home, lease=SUSPENDED).agreed("result of 1", make))
    raise SystemExit(0)


def test_the_one_that_confirms_is_suspended(running: Server, tmp_path: Path) -> None:
    """Another one is told for whom it waits, takes over, and what it said stays when the first wakes up."""
    home = tmp_path / "suspended"
    home.mkdir()
    command = [sys.executable, "-m", "tests.search.storage.test_leases", running.url, str(home)]
    first = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    while not (home / "begun").exists():
        assert first.poll() is None
    said: list[str] = []
    second = opened(running.url, home, said.append, lease=SUSPENDED)
    first.send_signal(signal.SIGSTOP)
    assert second.agreed("result of 1", lambda: "the second one's") == "the second one's"
    told = f"(process {first.pid}), which confirms the picks: once it has been silent for 6 s this machine goes on"
    assert any(told in text for text in said)
    (home / "go").touch()
    first.send_signal(signal.SIGCONT)
    out, _ = first.communicate()
    assert first.returncode == 0
    assert out.strip() == "the second one's" == second.agreed("result of 1", lambda: "a third")


def test_who_lost_a_lease_changes_no_trial_and_does_its_part_again(running: Server, tmp_path: Path) -> None:
    said: list[str] = []
    one = opened(running.url, tmp_path / "lost", said.append)
    tries: list[int] = []

    def change() -> Any:
        tries.append(len(tries))
        if len(tries) == 1:  # as after a long sleep, in which another one came and went
            with psycopg.connect(running.url, autocommit=True) as connection:
                connection.execute("DELETE FROM freeu_leases")
            one.storage._leases._held["lost: trials"].sure = 0.0
        return one.optuna.ask().number

    before = len(one.optuna.trials)
    with pytest.raises(LeaseLost), one.storage.lock():
        change()
    tries.clear()
    number = one.storage.exclusively(change)
    assert tries == [0, 1]
    assert "took over from it" in said[-1]
    assert len(one.optuna.trials) == max(before, number + 1)


def test_a_wait_that_is_bounded_says_who_is_at_work(running: Server, tmp_path: Path) -> None:
    one, two = (opened(running.url, tmp_path / "bounded") for _ in range(2))
    with (
        one.storage.lock("tracking"),
        pytest.raises(Busy, match=rf"process {os.getpid()}\) logs to MLflow"),
        two.storage.lock("tracking", patience=0.0),
    ):
        raise AssertionError("both are in")
    with two.storage.lock("tracking", patience=0.0):
        pass


def test_connections_are_dropped_in_mid_block(running: Server, tmp_path: Path) -> None:
    proxy = Tcp(running.port)
    one = opened(running.url.replace(str(running.port), str(proxy.port)), tmp_path / "dropped")
    two = opened(running.url, tmp_path / "dropped")

    def make() -> str:
        proxy.drop()
        with pytest.raises(Busy), two.storage.lock("a key", patience=0.0):
            raise AssertionError("both are in")
        return "made"

    assert one.agreed("a key", make) == "made"
    proxy.drop()
    assert one.ask(9, 0) is not None
    proxy.close()


def test_a_server_that_takes_all_and_answers_nothing(
    running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy that swallows: its kernel acknowledges every byte, so that no keepalive tells."""
    monkeypatch.setattr(bounded_connection, "ANSWER", 0.5)
    monkeypatch.setattr(waiting, "QUIET", 0.0)
    monkeypatch.setitem(bounded_connection.CONNECTION, "connect_timeout", 2)
    proxy, said = Tcp(running.port), list[str]()
    url = running.url.replace(str(running.port), str(proxy.port))

    def heard(text: str) -> None:
        said.append(text)
        proxy.swallowing = False  # it comes to its senses once a person is told

    one = opened(url, tmp_path / "swallowed", heard)
    assert one.once("first", lambda: 1) == 1
    proxy.swallowing = True
    assert one.once("second", lambda: 2) == 2
    proxy.drop()
    assert one.once("third", lambda: 3) == 3
    assert len(said) >= 2 and "does not answer" in said[0] and "is back" in said[1]
    assert "secret" not in " ".join(said)
    proxy.swallowing = True
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    with pytest.raises(UserError, match=r"--storage .*can't be reached|--storage"):
        opened(url, tmp_path / "never")
    proxy.close()


def test_a_silence_ends_a_connection(running: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = bounded_connection.connecting(server(running.url))
    with connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        monkeypatch.setattr(bounded_connection, "ANSWER", 0.2)
        with pytest.raises(bounded_connection.NoAnswer, match=r"no answer for 0\.2 s"):
            connection.execute("SELECT pg_sleep(600)")
        assert connection.closed


def test_a_long_answer_has_all_the_time_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured is silence, here by a clock of ours."""
    clock = [0.0]
    monkeypatch.setattr(bounded_connection.time, "monotonic", lambda: clock[0])

    def answer() -> Generator[int, int, str]:
        heard = 0
        while heard < 5:
            heard += bool((yield 1))
        return "whole"

    waits = bounded_connection._bounded(answer(), 60.0)
    assert next(waits) == 1
    for seconds, ready in [(50, 0), (9, 1), (50, 0), (9, 1), (59, 1), (59, 1)]:
        clock[0] += seconds
        assert waits.send(ready) == 1
    clock[0] += 1000  # no longer than it was asked
    with pytest.raises(StopIteration) as end:
        waits.send(1)
    assert end.value.value == "whole"
    waits = bounded_connection._bounded(answer(), 60.0)
    next(waits)
    clock[0] += 61
    with pytest.raises(bounded_connection.NoAnswer):
        waits.send(0)


def test_ctrl_c_ends_a_machine_whose_server_is_away(tmp_path: Path) -> None:
    with postgres() as own:
        one = opened(own.url, tmp_path / "away")
        asked = one.ask(9, 0)
        assert asked is not None
        own.stop()
        record = TrialRecord(asked.trial.number, asked.candidate.factors, "baseline", "FAIL", reason="interrupted")
        with one.storage.ending():
            one.given_back(asked, record, 0)
            raise AssertionError("the server is not there")
        own.start()


def test_a_server_that_is_away_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "QUIET", -1.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    said: list[str] = []
    left = [OperationalError("SELECT 1", {}, OSError("connection refused"))] * 3

    def call() -> str:
        if left:
            raise left.pop()
        return "answered"

    server = waiting.Waiting("the server of --storage postgresql://me@host/db", said.append)
    assert server.until_answered(call) == "answered"
    assert [text.partition(" (")[0] for text in said] == [
        "warning: the server of --storage postgresql://me@host/db does not answer",
        "the server of --storage postgresql://me@host/db is back",
    ]


def test_two_in_one_folder_keep_each_other_s_images(running: Server, tmp_path: Path) -> None:
    """Each learns the other's trials, in a folder where those are."""
    one, two = (opened(running.url, tmp_path / "shared") for _ in range(2))
    values = {"clip": Value(1.0, 0.1, 1, "up")}
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    for turn in (one, two, one, two):
        asked = turn.ask(9, 0)
        assert asked is not None
        record = TrialRecord(asked.trial.number, asked.candidate.factors, asked.origin, "COMPLETE", values, images=1)
        assert turn.ended(asked, record, images=images)
        one.look()
        two.look()
    third = opened(running.url, tmp_path / "shared")
    assert [record.number for record in third.records()] == [0, 1, 2, 3]
    assert all(third.storage.folder.grid_file(number).exists() for number in range(4))


def test_a_study_that_was_deleted_on_its_server_begins_anew(running: Server, tmp_path: Path) -> None:
    """Else the old records would stand for the new study's trials of those numbers."""
    import optuna

    one = opened(running.url, tmp_path / "deleted")
    asked = one.ask(9, 0)
    assert asked is not None
    record = TrialRecord(
        0, asked.candidate.factors, "baseline", "COMPLETE", {"clip": Value(1.0, 0.1, 1, "up")}, images=1
    )
    assert one.ended(asked, record, images=torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    optuna.delete_study(study_name="deleted", storage=server(running.url))
    again = opened(running.url, tmp_path / "deleted")
    assert again.records() == [] and again.baseline() is None
    assert not again.storage.folder.grid_file(0).exists()


def test_a_database_in_sql_ascii_and_braces_in_a_password(running: Server, tmp_path: Path) -> None:
    with psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    url = running.url.replace("/studies", "/plain").replace("secret", "se{cre}t%25")
    one = opened(url, tmp_path / "é")
    assert one.agreed("fingerprint", lambda: {"prompt": "café"}) == {"prompt": "café"}
    assert one.storage.known("fingerprint") == {"prompt": "café"}
    assert one.ask(9, 0) is not None


def test_a_mistyped_setting_changes_nothing(running: Server, tmp_path: Path) -> None:
    """Refused before the model loads; no folder, no candidate, no other study."""
    shared = {"storage": running.url, "study": "typed", "trials": 4, "guardrails": False}
    started(settings(tmp_path / "one", **shared))
    before = states(running.url, "typed")
    folder = StudyFolder(tmp_path / "two" / "mlruns", "other")
    write_json(folder.result, {"front": [{"factors": Factors(1.11, 1.22, 0.93, 0.24).as_dict()}]})
    wrong = settings(tmp_path / "two", **shared | {"seed": 7, "trials": 9}, start_from=["other"])
    with pytest.raises(UserError, match=r"begun with other settings \(--seed 7, was 0\)"):
        run_study(wrong, Console(file=io.StringIO()), lambda config, spec: pytest.fail("loads the model"))
    assert states(running.url, "typed") == before
    assert not (tmp_path / "two" / "mlruns" / "studies" / "typed").exists()
    right = settings(tmp_path / "two", **shared | {"trials": 5})
    assert started(right)["trials"] == 5


def test_a_wrong_server_leaves_nothing(running: Server, tmp_path: Path) -> None:
    config = settings(tmp_path, storage=running.url.replace("/studies", "/nowhere"), study="wrong")
    with pytest.raises(UserError, match='database "nowhere" does not exist'):
        run_study(config, Console(file=io.StringIO()), lambda config, spec: pytest.fail("loads the model"))
    assert not (tmp_path / "mlruns").exists()


def test_other_weights_on_a_second_machine_are_refused_unsealed(running: Server, tmp_path: Path) -> None:
    shared = {"storage": running.url, "study": "weights", "trials": 3, "guardrails": False}
    started(settings(tmp_path / "one", **shared))
    before = states(running.url, "weights")
    other = FakeGenerator()
    other.identity = "e" * 64
    with pytest.raises(UserError, match="begun with other settings"):
        started(settings(tmp_path / "two", **shared | {"trials": 5}), other)
    assert states(running.url, "weights") == before
    assert not (tmp_path / "two" / "mlruns" / "studies" / "weights" / "config.yaml").exists()


def started(config: Any, generator: FakeGenerator | None = None) -> dict[str, Any]:
    made = generator or FakeGenerator()
    return run_study(config, Console(file=io.StringIO(), width=200), lambda config, spec: (made, metrics(config)))


def states(url: str, name: str) -> list[str]:
    import optuna

    return [trial.state.name for trial in optuna.load_study(study_name=name, storage=server(url)).trials]
