"""The plan of a confirmation: how large, looked at when, and with what error."""

from __future__ import annotations

from typing import Any

import pytest

from freeu import Factors
from search.study.looks import LEVEL, Looks, ends, planned

ONE, TWO = {3: Factors(1.1, 1.2, 0.9, 0.8)}, {3: Factors(1.1, 1.2, 0.9, 0.8), 5: Factors(1.2, 1.2, 0.9, 0.8)}


@pytest.mark.parametrize(
    ("prompts", "candidates", "images", "found"),
    [
        (135, 3, 0, (34, 68, 101, 135)),  # each prompt once in any case
        (135, 3, 1200, (100, 200, 300, 400)),  # and as many seeds as the search took images
        (135, 3, 10**6, (135, 270, 405, 540)),  # four of each prompt at most
        (40, 3, 0, (20, 30, 40)),  # no look at fewer than 16
        (6, 3, 0, (6,)),
    ],
)
def test_rows_at_each_look(prompts: int, candidates: int, images: int, found: tuple[int, ...]) -> None:
    assert ends(prompts, prompts, candidates, images) == found


def test_all_confirmations_together_make_one_error() -> None:
    levels = [Looks(number, (16,)).level for number in range(1, 40)]
    assert levels[:3] == pytest.approx([0.04, 0.005, 0.0025]) and sum(levels) == pytest.approx(LEVEL)


def test_a_plan_is_kept_and_other_finalists_have_the_next() -> None:
    kept: dict[str, Any] = {}

    def plan(finalists: dict[int, Factors], *rows: int) -> Looks:
        return planned(kept.get, lambda key, make: kept.setdefault(key, make()), finalists, rows)

    assert plan(ONE, 16, 32) == plan(ONE, 40) == Looks(1, (16, 32))  # a resumed one, whatever it would plan now
    assert plan(TWO, 40) == plan(TWO, 16) == Looks(2, (40,))
    assert plan(ONE, 48) == Looks(3, (48,))  # not the first one's seeds again, which the second has not seen
