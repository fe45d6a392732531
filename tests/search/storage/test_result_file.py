"""Files of a study that are damaged, or another's: a sentence each, and nothing where they are whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from search.storage import StudyFolder
from tests.search import made


def folder(place: Path) -> StudyFolder:
    made.study(place, prompts=4, trials=4, side=8)
    return StudyFolder(place, "sunday")


def changed(file: Path, change: Callable[[Any], Any]) -> None:
    found = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(change(found) or found), "utf-8")


def test_a_whole_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    study = folder(tmp_path)
    assert study.read_result() == json.loads(study.result.read_text("utf-8"))
    assert len(study.read_trials()) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda against: against["tuned_baseline"].pop("scores"), "picks.0.against.tuned_baseline.scores"),
        (lambda against: against.pop("baseline"), "a tuned baseline without the baseline"),
        (lambda against: against["tuned_baseline"]["sampling"].update(guidance="x"), "guidance is 'x'"),
    ],
)
def test_a_damaged_rival_says_what_is_wrong(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    study = folder(tmp_path)
    made.with_rival(study, 3)
    assert study.read_result()
    changed(study.result, lambda found: change(found["picks"][0]["against"]) and None)
    with pytest.raises(UserError, match=said):
        study.read_result()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: [found], "result.json is damaged"),
        (lambda found: found.pop("trials"), "trials is "),
        (lambda found: found.update(verdict=3), "verdict is 3"),
        (lambda found: found["picks"][0].pop("scores"), "picks.0.scores"),
        (lambda found: found["picks"][0]["scores"]["clip"].update(low="x"), "picks.0.scores.clip.low is 'x'"),
        (lambda found: found["front"][0]["expected"].pop("clip"), "expected clip is None"),
        (lambda found: found["front"][0]["factors"].update(b1="much"), "b1"),
        (lambda found: found["objectives"].update(clip="sideways"), "objectives.clip is 'sideways'"),
    ],
)
def test_a_damaged_result_says_what_is_wrong(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    study = folder(tmp_path)

    def change_it(found: Any) -> Any:
        result = change(found)
        return result if isinstance(result, list) and result[0] is found else None

    changed(study.result, change_it)
    with pytest.raises(UserError) as error:
        study.read_result()
    assert said in str(error.value) and "remove it" in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found["values"].pop("clip"), "has other objectives than trial 0: clip"),
        (lambda found: found["values"]["clip"].update(value=[1]), "is no number"),
        (lambda found: found["guardrails"].update(luma="dark"), "is no number"),
        (lambda found: found.update(reason={"a": 1}), "reason is {'a': 1}: expected a text"),
        (lambda found: found.update(origin=[]), "origin is []: expected a text"),
    ],
)
def test_a_damaged_record_says_what_is_wrong(tmp_path: Path, change: Callable[[Any], Any], said: str) -> None:
    study = folder(tmp_path)
    changed(study.record_file(2), lambda found: change(found) and None)
    with pytest.raises(UserError, match=r"0002\.json") as error:
        study.read_trials()
    assert said in str(error.value)


def test_damaged_scores_say_so(tmp_path: Path) -> None:
    study = folder(tmp_path)
    file = study.root / "confirm" / "baseline.parquet"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"baseline\.parquet is damaged"):
        study.read_held_out("baseline")
