"""SIGKILL at random instants of a study in its own process; then it is finished, and everything is counted."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest

from search.storage.study_folder import StudyFolder

TRIALS, SECONDS = 10, 0.1


def start(home: Path) -> subprocess.Popen[bytes]:
    here = Path(__file__).parents[1]
    command = [sys.executable, str(here / "fakes.py"), str(home), str(SECONDS), str(TRIALS)]
    log = (home / "log.txt").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(here.parents[1])})


def killed_at(home: Path, after: float) -> None:
    """Start the study, and kill it `after` seconds later if it has not ended."""
    process = start(home)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def check(home: Path, kills: int) -> None:
    process = start(home)
    assert process.wait(timeout=120) == 0, (home / "log.txt").read_text()
    folder = StudyFolder(home / "mlruns", "small")
    records = folder.read_trials()
    complete = [record for record in records if record.complete]
    assert len(complete) == TRIALS
    assert len({record.factors for record in complete}) == TRIALS
    assert {r.origin for r in complete} >= {"baseline", "published", "sobol", "random"}
    assert Counter(r.origin for r in complete)["sobol"] == 6
    assert sum(not record.complete for record in records) <= kills

    trials = optuna.load_study(study_name="small", storage=folder.optuna_url).trials
    ended = [trial for trial in trials if trial.state.name != "WAITING"]
    assert {t.number: t.state.name for t in ended} == {r.number: r.state for r in records}
    for trial in ended:
        if trial.state.name == "COMPLETE":
            assert trial.values == [v.value for v in folder.read_trial(trial.number).values.values()]

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    states = {"COMPLETE": "FINISHED", "FAIL": "FAILED"}
    children = {r.data.tags["freeu.trial"]: r.info.status for r in runs if "freeu.trial" in r.data.tags}
    assert children == {str(r.number): states[r.state] for r in records}
    assert len(runs) == len(records) + 1
    assert all(run.info.status != "RUNNING" for run in runs)

    generated = [json.loads(line) for line in (home / "generated.jsonl").read_text().splitlines()]
    counts = Counter(json.dumps(factors) for factors, _ in generated)
    # The baseline is in the confirmation too, and so is each pick; a kill can waste what was in flight, no more.
    confirmed = len(list((folder.root / "confirm").glob("*.npz")))
    assert sum(counts.values()) <= TRIALS + confirmed + 1 + kills
    assert not list(folder.root.rglob("*.part"))


def run(home: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    whole, torn = home / "whole", home / "torn"
    whole.mkdir()
    torn.mkdir()
    began = time.monotonic()
    check(whole, 0)
    length = time.monotonic() - began
    for _ in range(kills):
        killed_at(torn, chance.uniform(0.2, 0.9) * length)
    check(torn, kills)


def test_three_kills(tmp_path: Path) -> None:
    run(tmp_path, 3, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills(tmp_path: Path) -> None:
    run(tmp_path, 10, seed=1)
