"""Which trials a result is of, where the study went on after it."""

from __future__ import annotations

import fcntl
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from freeu import IDENTITY
from search.storage import StudyFolder, TrialRecord
from search.storage.trial_record import INTERRUPTED
from search.terminal.study_status import finished, of_result, running
from tests.search import made


def gone_on(folder: StudyFolder) -> None:
    """As after a larger --trials that was interrupted: of three further trials, two are complete."""
    kept = folder.read_trial(2)
    assert kept is not None
    for number in (21, 22):
        folder.write_trial(replace(kept, number=number, factors=made.factors(number)))
    folder.write_trial(TrialRecord(23, made.factors(23), "gp", "FAIL", reason=INTERRUPTED))


def test_all_trials_without_a_word_where_the_result_is_of_all(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    assert of_result(folder.read_trials(), finished(folder)) == (folder.read_trials(), "")


def test_the_first_trials_with_those_that_failed_among_them(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    before = folder.read_trials()
    assert [record.number for record in before if not record.complete] == [3]
    gone_on(folder)
    note = "from the first 11 trials; 13 are complete by now"
    assert of_result(folder.read_trials(), finished(folder)) == (before, note)


@pytest.mark.parametrize("number", [0, 30])
def test_no_freeu_is_among_them_whatever_its_number(number: int) -> None:
    """Interrupted, it is queued again behind all others, and still goes before them."""
    numbers = [1, 2, 3, 4, 5, 6]
    records = [TrialRecord(one, made.factors(one), "gp", "COMPLETE") for one in numbers]
    records = sorted([*records, TrialRecord(number, IDENTITY, "baseline", "COMPLETE")], key=lambda one: one.number)
    kept, _ = of_result(records, {"trials": 4, "front": [], "picks": []})
    assert {record.number for record in kept} == {number, 1, 2, 3}


def test_what_the_result_names_is_among_them() -> None:
    """Machines that share a study end trials in another order than they begin them."""
    records = [TrialRecord(one, made.factors(one), "gp", "COMPLETE") for one in range(6)]
    kept, _ = of_result(records, {"trials": 4, "front": [{"number": 4}], "picks": [{"number": 5}]})
    assert [record.number for record in kept] == [0, 1, 4, 5]


def test_records_that_are_gone_are_told(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8, trials=3)
    folder.record_file(2).unlink()
    kept, note = of_result(folder.read_trials(), finished(folder))
    assert [record.number for record in kept] == [0, 1]
    assert note == "from the first 3 trials; 2 are complete by now"


def test_a_look_does_not_refuse_a_start(tmp_path: Path) -> None:
    """Whoever asks whether a study runs holds its file for a moment."""
    folder = StudyFolder(tmp_path, "s")
    folder.root.mkdir(parents=True)
    folder.lock.touch()
    with folder.lock.open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        release = threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN))
        release.start()
        with folder.locked():
            assert running(folder)
        release.join()
    assert not running(folder)
