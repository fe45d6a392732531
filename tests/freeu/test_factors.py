"""Factors are checked when they are made, and say what was wrong."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import UserError
from freeu import IDENTITY, Factors, FactorsError

FACTOR = st.floats(-1, 10)


@given(FACTOR, FACTOR, FACTOR, FACTOR, st.sampled_from(["v1", "v2"]), st.sampled_from(["width", "block"]))
def test_round_trip(b1, b2, s1, s2, version, stages) -> None:
    factors = Factors(b1, b2, s1, s2, version, stages)
    assert Factors.from_dict(factors.as_dict()) == factors
    assert factors.of(1) == (b1, s1, 1) and factors.of(2) == (b2, s2, 1) and factors.of(3) == (1, 1, 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 10.5, -1.01, "1.2", None, True])
@pytest.mark.parametrize("name", ["b1", "b2", "s1", "s2"])
def test_a_bad_factor_is_named_with_its_value(name: str, bad) -> None:
    with pytest.raises(FactorsError, match=f"{name} is "):
        Factors(**{**dict(b1=1, b2=1, s1=1, s2=1), name: bad})


def test_zero_is_a_number() -> None:
    assert Factors(1, 1, 0.0, 0).s1 == 0.0


def test_unknown_choices_suggest_the_nearest() -> None:
    with pytest.raises(FactorsError, match="did you mean 'v2'"):
        Factors(1, 1, 1, 1, version="v22")
    with pytest.raises(FactorsError, match="did you mean 'width'"):
        Factors(1, 1, 1, 1, stages="widths")
    with pytest.raises(FactorsError, match="did you mean 's1'"):
        Factors.from_dict({"b1": 1, "b2": 1, "s1x": 1, "s2": 1})
    with pytest.raises(FactorsError, match="lack s1, s2"):
        Factors.from_dict({"b1": 1, "b2": 1})


def test_the_error_is_the_projects_and_a_value_error() -> None:
    assert issubclass(FactorsError, UserError) and issubclass(FactorsError, ValueError)


def test_identity() -> None:
    assert IDENTITY.identity and not Factors(1, 1, 1, 0.9).identity


def test_factors_are_frozen_and_checked_again_when_replaced() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        IDENTITY.b1 = 2.0  # type: ignore[misc]
    with pytest.raises(FactorsError, match="b1 is 11"):
        dataclasses.replace(IDENTITY, b1=11)
