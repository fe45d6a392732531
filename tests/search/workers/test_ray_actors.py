"""Workers on Ray: a real cluster of this machine, and an actor that is killed in mid-trial."""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from search.evaluation import Evaluation, Evaluators, Task
from search.storage import Value
from search.workers import Crew, done
from tests.search.study.test_coordinator import opened

ray = pytest.importorskip("ray", reason="ray is not installed")

from search.workers.ray_actors import actors  # noqa: E402


def evaluated(folder: Path, task: Task, on_images: Any) -> Evaluation:
    """Notes who did what. The fifth to begin is killed in the middle."""
    with (folder / "begun").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    begun = (folder / "begun").read_text().count("\n")
    time.sleep(0.2)
    if begun >= 5 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    values = {
        "clip": Value(task.candidate.factors.b1, 0.1, 4, "up"),
        "fid": Value(task.candidate.factors.s1, 0.1, 4, "down"),
    }
    return Evaluation(values, 4, seconds={"total": 0.2})


def load(folder: Path) -> Evaluators:
    return Evaluators({"search": partial(evaluated, folder)})  # type: ignore[dict-item]


def refuses() -> Evaluators:
    raise UserError("there are no weights here")


def breaks(held: Evaluators, on_images: Any) -> None:
    raise ValueError("no such layer")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    yield
    ray.shutdown()


@pytest.fixture
def crew(cluster: None, tmp_path: Path) -> Iterator[Crew]:
    found = actors(partial(load, tmp_path), "local", 2, "cpu")
    yield found
    found.close()


def test_an_actor_is_killed_in_mid_trial(crew: Crew, tmp_path: Path) -> None:
    study = opened(tmp_path)
    super(type(study), study).run(crew, 12)
    records = study.records()
    complete = [record.factors for record in records if record.complete]
    assert len(complete) == len(set(complete)) == 12
    lost = [record for record in records if not record.complete]
    assert [record.reason for record in lost] == ["its worker ended before it did"]
    waiting = [trial for trial in study.trials.optuna.trials if trial.state.name == "WAITING"]
    assert lost[0].factors in complete or waiting  # given back
    assert not [trial for trial in study.trials.optuna.trials if trial.state.name == "RUNNING"]
    who = Counter((tmp_path / "begun").read_text().split())
    assert len(who) >= 2 and os.getpid() not in map(int, who)
    while crew.free < 2:  # another comes in the dead one's place
        assert crew.wait() == []
    with pytest.raises(ValueError, match="no such layer"):
        done(crew, breaks)


def test_what_cannot_be_loaded_is_said(cluster: None) -> None:
    crew = actors(refuses, "local", 1, "cpu")
    try:
        with pytest.raises(UserError, match="there are no weights here"):
            done(crew, breaks)
    finally:
        crew.close()


def test_workers_find_modules_by_pythonpath_or_say_what_they_lack(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def load():\n    return 7\n\ndef held(held, on_images):\n    return held\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = importlib.import_module("only_here")
    crew = actors(only_here.load, "local", 1, "cpu")
    try:
        with pytest.raises(UserError, match=r"a worker can't begin: ModuleNotFoundError: No module named 'only_here'"):
            done(crew, breaks)
    finally:
        crew.close()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    crew = actors(only_here.load, "local", 1, "cpu")
    try:
        assert done(crew, only_here.held) == 7
    finally:
        crew.close()


def test_no_cluster_is_said() -> None:
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(UserError, match="no cluster answers there"):
        actors(refuses, "127.0.0.1:1", 1, "cpu")
