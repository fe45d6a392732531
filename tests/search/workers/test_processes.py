"""Workers in processes: their jobs, their deaths, what can't be loaded, and their end with the coordinator's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from configs.devices import cores
from search.evaluation import Evaluators
from search.workers import Crew, SingleWorker, WorkerDied, done
from search.workers.processes import WorkerPool, processes


def load(folder: Path) -> Evaluators:
    with (folder / "loaded").open("a") as stream:
        stream.write(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\n")
    return Evaluators({})


def refuses() -> Evaluators:
    raise UserError("there are no weights here")


def dies() -> Evaluators:
    os._exit(3)


def pid(held: Evaluators, on_images: Any) -> int:
    return os.getpid()


def killed(held: Evaluators, on_images: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_once(file: Path, held: Evaluators, on_images: Any) -> str:
    if not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def breaks(held: Evaluators, on_images: Any) -> None:
    raise ValueError("no such layer")


def ended(crew: Crew, jobs: dict[int, Any]) -> dict[int, Any]:
    """All jobs done, by key."""
    left, found = list(jobs.items()), {}
    while len(found) < len(jobs):
        while left and crew.free:
            crew.submit(*left.pop(0))
        found |= dict(crew.wait())
    return found


def test_this_process_alone() -> None:
    crew = SingleWorker(Evaluators({}))
    found = ended(crew, {1: pid, 2: breaks})
    assert found[1] == os.getpid()
    assert isinstance(found[2], ValueError)
    with pytest.raises(ValueError, match="no such layer"):
        done(crew, breaks)


def test_processes_load_once_each_and_come_again_after_a_death(tmp_path: Path) -> None:
    crew = processes(partial(load, tmp_path), 2, "cpu")
    try:
        found = ended(crew, {0: pid, 1: pid, 2: killed, 3: breaks, 4: pid, 5: pid, 6: pid})
        assert isinstance(found[2], WorkerDied)
        assert str(found[3]) == "no such layer"
        assert os.getpid() not in (found[key] for key in (0, 1, 4, 5, 6))
        assert done(crew, partial(killed_once, tmp_path / "killed")) == "done"
        with pytest.raises(WorkerDied):
            done(crew, killed)
        while crew.free < 2:
            crew.wait()
    finally:
        crew.close()
    loaded = (tmp_path / "loaded").read_text().split("\n")[:-1]
    assert len(set(loaded)) == len(loaded) == 2 + 1 + 1 + 3  # two, and one more for each death
    assert {line.split()[1] for line in loaded} == {str(max(1, cores() // 2))}


def test_what_cannot_be_loaded_is_said() -> None:
    crew = processes(refuses, 2, "cpu")
    try:
        with pytest.raises(UserError, match="there are no weights here"):
            done(crew, pid)
    finally:
        crew.close()
    crew = processes(dies, 1, "cpu")
    try:
        with pytest.raises(UserError, match="workers die while they load the model"):
            done(crew, pid)
    finally:
        crew.close()


COORDINATOR = """
import os, sys
from functools import partial
from pathlib import Path
from search.workers.processes import WorkerPool, processes
from tests.search.workers.test_processes import load, sleeps

if __name__ == "__main__":
    crew = processes(partial(load, Path(sys.argv[1])), 1, "cpu")
    while not crew.free:
        crew.wait()
    crew.submit(0, sleeps)
    print("begun", flush=True)
    crew.wait()
"""


def sleeps(held: Evaluators, on_images: Any) -> None:
    time.sleep(600)


def test_workers_end_with_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "coordinator.py"
    script.write_text(COORDINATOR)
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as coordinator:
        assert coordinator.stdout is not None
        assert coordinator.stdout.readline() == "begun\n"
        coordinator.kill()
    worker = int((tmp_path / "loaded").read_text().split()[0])
    for _ in range(600):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the worker outlived its coordinator")


def test_a_wait_ends_where_nothing_can_end_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a cluster whose head is gone."""
    monkeypatch.setattr("search.workers.processes.CHECK", 0.01)

    class Never:
        def ready(self) -> Future[Any]:
            return Future()

        def submit(self, job: Any) -> Future[Any]:
            return Future()

        def close(self) -> None: ...

    def gone() -> None:
        raise UserError("the cluster is gone")

    with pytest.raises(UserError, match="the cluster is gone"):
        WorkerPool([Never], (), gone).wait()
