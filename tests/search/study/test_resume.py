"""SIGKILL at random instants of a study in its own process; then it is finished, and everything is counted."""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from search.optimizer.space_file import default
from search.storage import StudyFolder
from tests.search.fakes import logged_study

if TYPE_CHECKING:
    from mlflow.entities import Run

TRIALS, SECONDS = 12, 0.1
COSTS = ("seconds.", "system/", "unet_evaluations", "images_per_second", "peak_memory_gb")
"""What depends on the kills: scores that were kept cost nothing."""


@pytest.fixture(scope="module")
def launcher() -> Iterator[subprocess.Popen[bytes]]:
    with launched() as found:
        yield found


@contextmanager
def launched() -> Iterator[subprocess.Popen[bytes]]:
    """A process that begins studies, in processes of their own, without loading anything each time."""
    here, pipe = Path(__file__).parents[1], subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(here.parents[1])}
    with subprocess.Popen([sys.executable, str(here / "fakes.py")], stdin=pipe, stdout=pipe, env=environment) as found:
        yield found
        assert found.stdin is not None
        found.stdin.close()


@dataclass(frozen=True)
class Place:
    """A study of one seed, and where it is."""

    home: Path
    seed: int
    sampler: str = "random"

    @property
    def folder(self) -> StudyFolder:
        return StudyFolder(self.home / "mlruns", "small")

    def generated(self) -> list[str]:
        log = self.home / "generated.jsonl"
        return log.read_text().splitlines() if log.exists() else []

    def kill(self, launcher: subprocess.Popen[bytes], batches: int, late: float) -> bool:
        """Start the study, and kill it `late` seconds after it has drawn so many batches more; whether it was still
        there."""
        assert launcher.stdin is not None and launcher.stdout is not None
        before = len(self.generated())
        launcher.stdin.write(f"{self.home} {SECONDS} {TRIALS} {self.seed} {self.sampler}\n".encode())
        launcher.stdin.flush()
        process = int(launcher.stdout.readline())
        while len(self.generated()) < before + batches and not select.select([launcher.stdout], [], [], 0.01)[0]:
            pass
        if not select.select([launcher.stdout], [], [], late)[0]:
            os.kill(process, signal.SIGKILL)
        return os.waitstatus_to_exitcode(int(launcher.stdout.readline())) == -signal.SIGKILL

    def finish(self, kills: int) -> dict[str, Any]:
        """Finish it, in this process. All that it left, by where it is."""
        logged_study(self.home, 0, TRIALS, self.seed, self.sampler)
        folder = self.folder
        records = folder.read_trials()
        assert all(record.complete for record in records)
        assert len({record.candidate for record in records}) == len(records) == TRIALS
        assert {r.origin for r in records} >= {"baseline", "published", "sobol", self.sampler}
        assert Counter(r.origin for r in records)["sobol"] == 6

        trials = optuna.load_study(study_name="small", storage=folder.optuna_url).trials
        ended = [trial for trial in trials if trial.state.name != "WAITING"]
        # What lies outside of the space, as FreeU off at another guidance scale, is not told to the sampler.
        told = {record.number: "COMPLETE" if default().holds(record.candidate) else "FAIL" for record in records}
        assert {trial.number: trial.state.name for trial in ended} == told
        for trial in ended:
            if trial.state.name == "COMPLETE":
                assert trial.values == [v.value for v in folder.read_trial(trial.number).values.values()]

        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{self.home / 'mlruns' / 'mlflow.db'}")
        runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
        children = {run.data.tags["freeu.trial"]: run for run in runs if "freeu.trial" in run.data.tags}
        assert len(runs) == len(records) + 1
        assert children.keys() == {str(record.number) for record in records}
        assert {run.info.status for run in runs} == {"FINISHED"}
        for record in records:
            there = children[str(record.number)].data.metrics
            assert {name: there[name] for name in record.values} == {k: v.value for k, v in record.values.items()}
        parent = next(run for run in runs if "freeu.trial" not in run.data.tags)
        for name in "clip", "aesthetic":
            history = client.get_metric_history(parent.info.run_id, f"trial/{name}")
            assert sorted((m.step, m.value) for m in history) == [(r.number, r.values[name].value) for r in records]

        counts = Counter(json.dumps(json.loads(line)[0]) for line in self.generated())
        # The baseline is in each look of the confirmation too, and so is each pick; a kill wastes what was in flight.
        confirmed = len(list((folder.root / "confirm" / "parts").glob("*.npz")))
        assert sum(counts.values()) <= TRIALS + confirmed + 1 + kills
        assert not list(self.home.rglob("*.part"))
        return {
            "records": [replace(r, seconds={}, peak_memory=0, unet_evaluations=0) for r in records],
            "optuna": {trial.number: (trial.params, trial.values) for trial in ended},
            "mlflow": {run.data.tags.get("freeu.trial"): _logged(client, run) for run in runs},
            "result": folder.read_result(),
            "scores": _hashes(folder.root / "scores"),
            "confirmation": _hashes(folder.root / "confirm"),
            "grids": _hashes(folder.root / "grids"),
        }


def _hashes(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _logged(client: Any, run: Run) -> dict[str, Any]:
    """What does not depend on when it was logged, and in which folder."""
    return {
        "name": run.info.run_name,
        "metrics": {name: value for name, value in run.data.metrics.items() if not name.startswith(COSTS)},
        "params": run.data.params,
        "tags": {k: v for k, v in run.data.tags.items() if k.startswith("freeu.") and k != "freeu.files"},
        "files": sorted(a.path for a in client.list_artifacts(run.info.run_id) if not a.path.endswith(".png")),
    }


def run(home: Path, launcher: subprocess.Popen[bytes], kills: int, seed: int, sampler: str = "random") -> int:
    """Kill a study, finish it, and compare it with the one that nothing stopped. How often it was killed."""
    chance = random.Random(seed)
    whole, torn = Place(home / "whole", seed, sampler), Place(home / "torn", seed, sampler)
    whole.home.mkdir()
    torn.home.mkdir()
    expected = whole.finish(0)
    killed = sum(torn.kill(launcher, chance.randrange(5), chance.uniform(0, 2 * SECONDS)) for _ in range(kills))
    found = torn.finish(kills)
    # The images of a trial that a kill fell into: some of its scores are kept, which are not drawn again for a look.
    grids, whole_grids = found.pop("grids"), expected.pop("grids")
    assert grids.items() <= whole_grids.items() and len(grids) >= len(whole_grids) - killed
    for what, those in expected.items():
        assert found[what] == those, f"{what}: another study than the one of its seed"
    return killed


def test_three_kills(launcher: subprocess.Popen[bytes], tmp_path: Path) -> None:
    run(tmp_path, launcher, 3, seed=0)


@pytest.mark.slow
def test_fifty_kills(launcher: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Over ten studies of five samplers."""
    killed = 0
    for seed in range(10):
        (home := tmp_path / str(seed)).mkdir()
        killed += run(home, launcher, 6, seed, ["random", "tpe", "gp", "qmc", "nsga2"][seed % 5])
    assert killed >= 50
