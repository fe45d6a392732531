"""Ctrl-C within a trial: after the step in flight; a second one at once; and the study goes on later."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search.evaluation import interrupts
from search.evaluation.interrupts import SAID, Stopping
from search.run import app
from search.storage import StudyFolder


@pytest.fixture(autouse=True)
def listening():
    """SIGINT as on a terminal, also where the tests run in the background."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def test_the_first_waits_for_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Stopping() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # the step goes on
        assert SAID in capsys.readouterr().err
        interrupts.check()
        pytest.fail("went on after the step")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), Stopping():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        pytest.fail("went on after the second")


def test_a_run_that_tells_no_steps_ends_when_it_is_done() -> None:
    with pytest.raises(KeyboardInterrupt), Stopping():
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_that_python_dropped_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python drops what a destructor raises, and start-up is full of them."""

    class Dropping:
        def __del__(self) -> None:
            interrupts.interrupt(signal.SIGINT, None)

    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: dropped.append(found.exc_type))
    Dropping()
    gc.collect()
    assert dropped == [KeyboardInterrupt]
    with pytest.raises(KeyboardInterrupt), Stopping():
        pytest.fail("went on")
    interrupts.check()  # it is told once


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Stopping() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        interrupts.check()


def running(folder: StudyFolder) -> bool:
    with closing(sqlite3.connect(f"file:{folder.database}?mode=ro", uri=True)) as database:
        return bool(database.execute("SELECT 1 FROM trials WHERE state = 'RUNNING'").fetchall())


def interrupted(command: list[str], folder: StudyFolder, after: str, sent: signal.Signals) -> tuple[int, str, str]:
    """(exit code, output, errors) of a command that gets a signal within the trial after the one that is named."""
    listen = "import signal, os, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    run = [sys.executable, "-c", listen + "os.execv(sys.argv[1], sys.argv[1:])", *command]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if after in line:
            break
    while not running(folder):
        time.sleep(0.02)
    time.sleep(0.1)  # well within the next trial
    process.send_signal(sent)
    return process.wait(120), *process.communicate()


def test_ctrl_c_and_sigterm_in_a_study_of_the_real_model(tmp_path: Path) -> None:
    flags = "--trials 3 --limit 4 --objectives clip --no-guardrails --study s --batch-size 2 --steps 40"
    flags += " --held-out 4 --judges none"
    arguments = [*flags.split(), "--mlruns", str(tmp_path / "m")]
    command = [sys.executable, "-m", "search.run", *arguments]
    folder = StudyFolder(tmp_path / "m", "s")
    code, out, err = interrupted(command, folder, "1/3 ", signal.SIGINT)
    assert code == 130, err
    assert SAID in err and "run the same command again to resume" in out and "Traceback" not in err
    assert [record.reason for record in folder.read_trials()] == [None]
    code, out, err = interrupted(command, folder, "2/3 ", signal.SIGTERM)
    assert code == 130, err
    assert "run the same command again to resume" in out and "Traceback" not in err
    assert [record.reason for record in folder.read_trials()] == [None, None]
    done = CliRunner().invoke(app, arguments)  # in this process, which has torch already
    assert done.exit_code == 0, done.output
    records = folder.read_trials()
    assert sum(record.complete for record in records) == 3
    assert len({record.factors for record in records if record.complete}) == 3
