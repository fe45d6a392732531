"""Sampling settings: what is refused, round trips, and what is left as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freeu import IDENTITY, Candidate, Factors, Sampling, SamplingError

SETTINGS = st.builds(
    Sampling,
    guidance=st.none() | st.floats(0, 100),
    guidance_rescale=st.none() | st.floats(0, 1),
    steps=st.none() | st.integers(1, 1000),
    scheduler=st.none() | st.sampled_from(["Euler a", "DDIM"]),
    eta=st.none() | st.floats(0, 1),
    clip_skip=st.none() | st.integers(1, 12),
    negative_prompt=st.none() | st.text(max_size=40),
    size=st.none() | st.tuples(*[st.integers(1, 128).map(lambda each: 8 * each)] * 2),
)


@given(SETTINGS)
def test_json_keeps_them(settings: Sampling) -> None:
    assert Sampling.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


@given(SETTINGS, SETTINGS)
def test_over_takes_the_others_where_nothing_is_set(one: Sampling, other: Sampling) -> None:
    found = one.over(other).as_dict()
    assert found == other.as_dict() | one.as_dict()
    assert one.over(Sampling()) == one == Sampling().over(one)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("guidance", each) for each in (-1, 101, float("nan"), "7", True)],
        *[("guidance_rescale", each) for each in (-0.1, 1.1)],
        *[("steps", each) for each in (0, 1001, 2.5, True, "20")],
        *[("clip_skip", each) for each in (0, -1)],
        *[("eta", each) for each in (1.5, "0")],
        *[("size", each) for each in ((512,), (512, 513), (0, 512), "512x512", (512.0, 512), 512)],
        *[("scheduler", 3), ("negative_prompt", b"blurry")],
    ],
)
def test_what_no_run_can_have_is_named(name: str, value: Any) -> None:
    with pytest.raises(SamplingError, match=f"^{name} is "):
        Sampling(**{name: value})


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(SamplingError, match="guidance"):
        Sampling.from_dict({"guidence": 3})


def test_only_freeu_off_with_nothing_changed_is_the_baseline() -> None:
    assert Candidate(IDENTITY).baseline and Candidate(IDENTITY).off
    other = Candidate(IDENTITY, Sampling(guidance=3))
    assert other.off and not other.baseline
    assert not Candidate(Factors(1.1, 1, 1, 1)).off
