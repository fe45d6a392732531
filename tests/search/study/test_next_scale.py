"""Where FreeU off is tried next."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freeu import IDENTITY, Factors, Sampling
from search.storage import TrialRecord, Value
from search.study.next_scale import APART, next_scale

GOALS = {"clip": "up", "fid": "down"}


def off(scale: float | None, clip: float, fid: float) -> TrialRecord:
    values = {"clip": Value(clip, 0.1, 8, "up"), "fid": Value(fid, 0.1, 8, "down")}
    return TrialRecord(0, IDENTITY, "tuned baseline", "COMPLETE", values, sampling=Sampling(guidance=scale))


def scored(scale: float, best: float) -> float:
    return -(math.log(scale / best) ** 2)


@given(best=st.floats(3.6, 13.9))
def test_a_parabolas_best_is_found_at_once(best: float) -> None:
    records = [off(scale, scored(scale or 7.0, best), 0.0) for scale in (None, 3.5, 14.0)]
    found = next_scale(records, {"clip": "up"}, 7.0, 0)
    near = min(max(best / tried, tried / best) for tried in (3.5, 7.0, 14.0))
    if near > APART + 0.01:
        assert found == pytest.approx(best, rel=0.01)


@given(values=st.lists(st.floats(-1, 1), min_size=3, max_size=3), turns=st.integers(0, 20))
def test_it_stays_within_what_was_tried_and_tries_nothing_twice(values: list[float], turns: int) -> None:
    records = [off(scale, value, -value) for scale, value in zip((None, 3.5, 14.0), values, strict=True)]
    tried = [7.0, 3.5, 14.0]
    for turn in range(turns):
        scale = next_scale(records, GOALS, 7.0, turn)
        if scale is None:
            return
        assert 3.5 < scale < 14 and min(max(scale / each, each / scale) for each in tried) > APART
        tried.append(scale)
        records.append(off(scale, values[turn % 3], turn % 5))


def test_each_objective_has_its_turn_and_then_all_together() -> None:
    records = [off(scale, scored(scale or 7.0, 5.0), -scored(scale or 7.0, 10.0)) for scale in (None, 3.5, 14.0)]
    found = [next_scale(records, GOALS, 7.0, turn) for turn in range(3)]
    assert found == [pytest.approx(5.0, rel=0.01), pytest.approx(10.0, rel=0.01), pytest.approx(7.0 * 1.0, rel=0.42)]


def test_other_trials_tell_nothing() -> None:
    two = [off(None, 0.0, 0.0), off(3.5, 1.0, 1.0)]
    assert next_scale(two, GOALS, 7.0, 0) is None
    values = two[0].values
    others = [
        TrialRecord(1, Factors(1.1, 1, 1, 1), "gp", "COMPLETE", values, sampling=Sampling(guidance=14.0)),
        TrialRecord(2, IDENTITY, "gp", "COMPLETE", values, sampling=Sampling(guidance=14.0, steps=4)),
        TrialRecord(3, IDENTITY, "gp", "FAIL", sampling=Sampling(guidance=14.0)),
    ]
    assert next_scale([*two, *others], GOALS, 7.0, 0) is None
