"""The storage of a study that one process alone writes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.testing.pytest_storages import StorageTestCase

from search.storage.single_writer import SingleWriterStorage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SingleWriterStorage]:
    kept = SingleWriterStorage(f"sqlite:///{tmp_path}/optuna.db")
    yield kept
    kept.remove_session()
    kept.engine.dispose()


class TestOwnStorage(StorageTestCase):
    """Optuna's own contract suite."""

    @pytest.fixture
    def storage(self, storage: SingleWriterStorage) -> SingleWriterStorage:
        return storage


@pytest.mark.filterwarnings("ignore")
def test_what_it_holds_is_what_another_process_reads(storage: SingleWriterStorage) -> None:
    other = RDBStorage(str(storage.url))
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize"])
    study.enqueue_trial({"a": 0.25}, user_attrs={"origin": "queued"})

    def same(number: int) -> None:
        held = storage.get_trial(number)
        held.params["never"] = 1.0  # what a reader does to his copy is his own
        assert storage.get_trial(number) == other.get_trial(number)

    for number in (1, 2):  # one that waited, and a new one
        trial = study.ask()
        assert trial._trial_id == number
        same(number)
        trial.suggest_float("a", 0, 1)
        trial.suggest_categorical("b", ["x", "y"])
        same(number)
        trial.set_user_attr("spreads", (0.1, None))
        trial.set_constraint("guardrails", -1.0)
        trial.storage.set_trial_system_attr(number, "c", {"1": [1]})
        same(number)
        study.tell(trial, [1.0, 2.0])
        same(number)
        assert study.get_trials() == other.get_all_trials(study._study_id)
    assert [t.values for t in study.trials] == [[1.0, 2.0]] * 2
    again = optuna.load_study(study_name=study.study_name, storage=SingleWriterStorage(str(storage.url)))
    assert again.trials == study.trials
    other.remove_session()
    other.engine.dispose()
