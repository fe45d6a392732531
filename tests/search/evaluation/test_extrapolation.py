"""What is expected on all prompts from what was found on the first ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metrics.encoders import Encoder
from metrics.fid import Fid
from metrics.reference import Reference
from search.evaluation import extrapolation

N, D = 48, 6


def world(seed: int) -> tuple[Fid, np.ndarray, np.ndarray]:
    """A distance, the baseline's features, and a candidate's: each prompt's content is its own, the shift is the
    same."""
    rng = np.random.default_rng(seed)
    fid = Fid(Encoder("none", "none", lambda part: part), Reference.of(rng.normal(size=(4000, D))))
    base = rng.normal(size=(N, D))
    return fid, base, base + 0.3 + 0.1 * rng.normal(size=(N, D))


def test_a_mean_goes_by_the_difference_to_no_freeu() -> None:
    base = np.array([1.0, 5.0, 9.0, 13.0])
    assert extrapolation.mean(np.array([2.0, 6.0]), base)[0] == 8.0  # one more on each of two: one more on all
    value, spread, paired = extrapolation.mean(base + 1, base)
    assert (value, paired) == (8.0, 0.0)
    assert spread == pytest.approx(base.std(ddof=1) / 2)
    assert extrapolation.mean(base, None)[0] == 7.0 and math.isnan(extrapolation.mean(base, None)[2])


def test_a_distance_of_a_part_is_that_of_all() -> None:
    """A quarter of the prompts tells the distance of all; the plain distance of a quarter is far off."""
    errors, plain = [], []
    for seed in range(20):
        fid, base, found = world(seed)
        whole = fid.distance(found)
        value, spread, paired = extrapolation.distance(found[:12], base, 12, N, fid)
        errors.append((value - whole) / paired)
        plain.append(fid.distance(found[:12]) - whole)
        assert spread == paired > 0
        assert abs(value - whole) < 0.5 * abs(plain[-1]) or abs(plain[-1]) < 0.1
    assert min(plain) > 0.2  # the bias of small sets
    assert abs(np.mean(errors)) < 1
    assert 0.4 < np.sqrt(np.mean(np.square(errors))) < 2.5  # the errors are about as large as they are said to be


def test_all_prompts_are_scored_plainly() -> None:
    fid, base, found = world(0)
    assert extrapolation.distance(found, base, N, N, fid)[0] == fid.distance(found)
    assert extrapolation.distance(found, None, N, 0, fid)[0] == fid.distance(found)
    assert extrapolation.completed(found, base, np.arange(N), N, N) == pytest.approx(found)


def test_frames_of_videos_go_with_their_prompt() -> None:
    frames, rng = 3, np.random.default_rng(0)
    base = rng.normal(size=(8 * frames, D))
    shift = rng.normal(size=(frames, D))  # of each frame its own
    found = (base.reshape(8, frames, D) + shift).reshape(-1, D)
    whole = extrapolation.completed(found[: 2 * frames], base, np.arange(2), 2, 8)
    assert whole == pytest.approx(found)


def test_the_error_of_videos_is_that_of_new_draws() -> None:
    """The own error against the scatter over draws of prompts; frames of a video are nearly the same."""
    frames, errors, values = 16, [], []
    fid, _, _ = world(0)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = np.repeat(rng.normal(0.5, 1, size=(N, D)), frames, axis=0) + 0.05 * rng.normal(size=(N * frames, D))
        value, spread, paired = extrapolation.distance(found, None, N, 0, fid)
        assert math.isnan(paired)
        values.append(value)
        errors.append(spread)
    assert 0.5 < np.mean(errors) / np.std(values, ddof=1) < 2  # by frames it is 0.01
