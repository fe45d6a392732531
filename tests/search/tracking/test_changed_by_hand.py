"""What a person changes in MLflow's own pages: with the next run each trial is there once, in one study, as before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from search.storage.mlflow_location import EXPERIMENT, mlflow_settings, page_path
from tests.search.fakes import FakeGenerator, settings
from tests.search.test_run import study

TRIALS = 3
Change = Callable[[Any, Any, list[Any]], object]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("finished")
    study(settings(place, trials=TRIALS, objectives="clip"))
    return place


def client_of(place: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(mlflow_settings(place / "mlruns").uri)


def active(client: Any) -> tuple[list[Any], list[Any]]:
    """Studies' runs and trials' runs, of all experiments."""
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parents, sorted((run for run in runs if run not in parents), key=lambda run: run.info.start_time)


def delete_all(client: Any, parent: Any, trials: list[Any]) -> None:
    for run in (parent, *trials):
        client.delete_run(run.info.run_id)


CHANGES: dict[str, Change] = {
    "the study's run deleted": lambda client, parent, trials: client.delete_run(parent.info.run_id),
    "a trial's run deleted": lambda client, parent, trials: client.delete_run(trials[1].info.run_id),
    "all of it deleted": delete_all,
    "the experiment renamed": lambda client, parent, trials: client.rename_experiment(
        parent.info.experiment_id, "Mine"
    ),
    "the experiment deleted": lambda client, parent, trials: client.delete_experiment(parent.info.experiment_id),
    "the study's tag edited": lambda client, parent, trials: client.set_tag(parent.info.run_id, "freeu.study", "x"),
    "the study's tag deleted": lambda client, parent, trials: client.delete_tag(parent.info.run_id, "freeu.study"),
    "the result's tag edited": lambda client, parent, trials: client.set_tag(parent.info.run_id, "freeu.result", "x"),
    "a trial's tag made text": lambda client, parent, trials: client.set_tag(trials[1].info.run_id, "freeu.trial", "x"),
    "a trial's tag made another's": lambda client, parent, trials: client.set_tag(
        trials[1].info.run_id, "freeu.trial", "0"
    ),
    "a trial's tag deleted": lambda client, parent, trials: client.delete_tag(trials[1].info.run_id, "freeu.trial"),
    "the study's run renamed": lambda client, parent, trials: client.update_run(parent.info.run_id, name="mine"),
}


@pytest.mark.parametrize("trials", [TRIALS, TRIALS + 1], ids=["run again", "resumed"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_trial_is_there_once_afterwards(change: Change, trials: int, finished: Path, tmp_path: Path) -> None:
    place = tmp_path / "moved"
    shutil.copytree(finished, place)
    config = settings(place, trials=TRIALS, objectives="clip")
    study(config)  # settles the folder where it is now
    client = client_of(place)
    (parent,), before = active(client)
    change(client, parent, before)
    idle = FakeGenerator()
    _, said = study(settings(place, trials=trials, objectives="clip"), idle)
    assert bool(idle.calls) is (trials > TRIALS) and "warning" not in said
    (again,), after = active(client)
    assert again.info.run_id == parent.info.run_id
    assert again.data.tags["freeu.study"] == "small" and again.info.status == "FINISHED"
    assert sorted(int(run.data.tags["freeu.trial"]) for run in after) == list(range(trials))
    assert {run.data.tags["mlflow.parentRunId"] for run in after} == {parent.info.run_id}
    assert all(run.data.tags["freeu.trial"] == run.data.params["number"] for run in after)
    steps = [point.step for point in client.get_metric_history(again.info.run_id, "trial/clip")]
    assert sorted(steps) == list(range(trials))
    assert page_path(mlflow_settings(place / "mlruns"), "small").endswith("viewStateShareKey=freeu-small")


def test_a_deleted_run_of_another_study_is_left_in_the_trash(finished: Path, tmp_path: Path) -> None:
    """Begun anew with other settings under the same name, a study is not its predecessor."""
    place = tmp_path / "moved"
    shutil.copytree(finished, place)
    study(settings(place, trials=TRIALS, objectives="clip"))
    client = client_of(place)
    (parent,), before = active(client)
    delete_all(client, parent, before)
    shutil.rmtree(place / "mlruns" / "studies")
    study(settings(place, trials=TRIALS, objectives="clip", seed=5))
    (again,), after = active(client)
    assert again.info.run_id != parent.info.run_id and len(after) == TRIALS


def test_the_way_to_a_deleted_study_is_no_circle(finished: Path, tmp_path: Path) -> None:
    place = tmp_path / "moved"
    shutil.copytree(finished, place)
    client = client_of(place)
    client.delete_run(active(client)[0][0].info.run_id)
    with pytest.raises(UserError, match=r"no run of study 'small'.* the command that began the study logs it again"):
        page_path(mlflow_settings(place / "mlruns"), "small")
    assert client.get_experiment_by_name(EXPERIMENT)
