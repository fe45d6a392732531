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
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from search.optimizer.space_file import default
from search.storage import StudyFolder, TrialRecord
from tests.search.fakes import logged_study

TRIALS, SECONDS = 10, 0.1


def start(home: Path) -> subprocess.Popen[bytes]:
    here = Path(__file__).parents[1]
    command = [sys.executable, str(here / "fakes.py"), str(home), str(SECONDS), str(TRIALS)]
    log = (home / "log.txt").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(here.parents[1])})


def generated(home: Path) -> list[str]:
    log = home / "generated.jsonl"
    return log.read_text().splitlines() if log.exists() else []


def killed_at(home: Path, batches: int, late: float) -> None:
    """Start the study, and kill it once it has drawn so many batches more, or wherever it is `late` seconds after."""
    before = len(generated(home))
    process = start(home)
    while process.poll() is None and len(generated(home)) < before + batches:
        time.sleep(0.01)
    try:
        process.wait(timeout=late)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def check(home: Path, kills: int) -> list[TrialRecord]:
    """Finish it, in this process; its records, without what they cost."""
    logged_study(home, 0, TRIALS)
    folder = StudyFolder(home / "mlruns", "small")
    records = folder.read_trials()
    assert all(record.complete for record in records)
    assert len({record.candidate for record in records}) == len(records) == TRIALS
    assert {r.origin for r in records} >= {"baseline", "published", "sobol", "random"}
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

    client = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    children = {r.data.tags["freeu.trial"]: r.info.status for r in runs if "freeu.trial" in r.data.tags}
    assert children == {str(r.number): "FINISHED" for r in records}
    assert len(runs) == len(records) + 1
    assert all(run.info.status != "RUNNING" for run in runs)

    counts = Counter(json.dumps(json.loads(line)[0]) for line in generated(home))
    # The baseline is in each look of the confirmation too, and so is each pick; a kill wastes what was in flight.
    confirmed = len(list((folder.root / "confirm" / "parts").glob("*.npz")))
    assert sum(counts.values()) <= TRIALS + confirmed + 1 + kills
    assert not list(folder.root.rglob("*.part"))
    # What a trial cost depends on the kills: scores that were kept cost nothing.
    return [replace(record, seconds={}, peak_memory=0, unet_evaluations=0) for record in records]


def run(home: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    whole, torn = home / "whole", home / "torn"
    whole.mkdir()
    torn.mkdir()
    found = check(whole, 0)
    for _ in range(kills):
        killed_at(torn, chance.randrange(5), chance.uniform(0, 2 * SECONDS))
    assert check(torn, kills) == found, "another study than the one of its seed"
    verdicts = [StudyFolder(each / "mlruns", "small").read_result() or {} for each in (whole, torn)]
    assert [verdicts[1][key] for key in ("front", "picks", "verdict")] == [
        verdicts[0][key] for key in ("front", "picks", "verdict")
    ]


def test_three_kills(tmp_path: Path) -> None:
    run(tmp_path, 3, seed=0)


@pytest.mark.slow
def test_ten_kills(tmp_path: Path) -> None:
    run(tmp_path, 10, seed=1)
