"""Objectives and judges by purpose, and the weights that they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configs import UserError, path, read_yaml
from metrics import METRICS
from metrics.at_hand import known_weights, read_by
from search.settings import weights
from search.settings.config import FIELDS
from search.settings.job import Job, prepare
from search.settings.reading import load
from search.settings.setting import choices_of

GOALS = read_yaml(path("goals.yaml"))


def job(folder: Path, **settings: Any) -> Job:
    return prepare(load(None, {"mlruns": folder, **settings}))


def test_the_flag_offers_what_the_file_has() -> None:
    assert set(choices_of(FIELDS["goal"])) == set(GOALS)
    for goal in GOALS.values():
        assert not set(goal["objectives"]) & set(goal["judges"])
        assert {METRICS[name].direction for name in (*goal["objectives"], *goal["judges"])} <= {"up", "down"}


@pytest.mark.parametrize("goal", GOALS)
def test_a_goal_says_which_weights_it_needs(tmp_path: Path, goal: str) -> None:
    found = job(tmp_path, model="sdxl", goal=goal)
    assert [*found.directions] == GOALS[goal]["objectives"] and [*found.judges] == GOALS[goal]["judges"]
    told = weights.needed(found.spec, found.metrics)
    assert told[0].readers == ("the model sdxl",)
    assert {reader for each in told[1:] for reader in each.readers} == {*found.directions, *found.judges}
    assert all(each.gb and each.licence for each in told)


def test_what_is_given_wins(tmp_path: Path) -> None:
    found = job(tmp_path, model="sdxl", goal="balanced", objectives="clip,pickscore", judges="none")
    assert [*found.directions] == ["clip", "pickscore"] and found.judges == {}
    assert [*job(tmp_path, model="sdxl", goal="balanced", objectives="clip,pickscore").judges] == ["hps", "cmmd"]


def test_shapes_keeps_its_judges_and_needs_nothing(tmp_path: Path) -> None:
    found = job(tmp_path, goal="balanced")
    assert [*found.judges] == ["objects", "colours", "relations", "render_error", "kid"]
    assert weights.needed(found.spec, found.metrics) == []


def test_weights_that_cannot_be_had_are_told_before_anything_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metrics.hub.why_not", lambda name, kind="model": f"no way to {name}")
    beautiful = job(tmp_path, model="sdxl", goal="beautiful")
    listed = r"Needed: stabilityai/\S+: 6.94 GB, [^;]+, for the model sdxl; xswu/HPSv2: 1.97 GB, Apache-2.0, for hps; "
    with pytest.raises(UserError, match=rf"no way to xswu/HPSv2\. {listed}"):
        weights.check(beautiful.spec, beautiful.metrics)


def test_every_scorer_of_the_hub_has_its_size_and_licence() -> None:
    known, scorers = known_weights(), read_yaml(path("scorers.yaml"))
    named = {name for settings in scorers.values() for name, _ in read_by(settings)}
    assert named <= known.keys()
    assert not any("NC" in str(each.get("licence")) or "AGPL" in str(each.get("licence")) for each in known.values())
