"""How much of a distance of sets is bias, in words."""

from __future__ import annotations

import numpy as np

from metrics.fid import Fid
from metrics.kernel import KernelDistance
from metrics.reference import Reference
from search.evaluation import Evaluator, Evaluators
from search.study.set_distances import Floors, lines, told
from tests.metrics.conftest import encoder_of
from tests.search.fakes import FakeGenerator, FakeMetric


def test_the_floors_of_what_the_confirmation_reads() -> None:
    reference = Reference.of(np.random.default_rng(0).normal(size=(64, 6)))
    metrics = {"fid": Fid(encoder_of(6), reference, "fid"), "kid": KernelDistance("kid", encoder_of(6), reference)}
    metrics["clip"] = FakeMetric("clip", 0)
    texts = [str(place) for place in range(16)]
    held = Evaluators({"confirm": Evaluator(FakeGenerator(), metrics, texts, range(16))})
    found = Floors(16)(held, lambda done: None)
    assert found == {"fid": metrics["fid"].floor_at(16), "kid": 0.0} and found["fid"] > 0
    assert Floors(40)(held, lambda done: None)["fid"] is None  # the reference has 64, and 80 are needed


def test_the_lines() -> None:
    rows = {"fid": {"base": 89.7}, "kid": {"base": 2.0}, "fd_dinov2": {"base": 500.0}}
    result = {"set_distances": told({"fid": 80.7, "kid": 0.0, "fd_dinov2": None, "cmmd": 0.0}, 48, rows)}
    assert lines(result) == [
        "fid at n = 48: the baseline scores 89.7, real images 80.7 (the floor), so 90 % of that is bias; compare at "
        "equal n only.",
        "kid at n = 48: the baseline scores 2, and real images 0 on average, as it is unbiased; it is noisy all the "
        "same.",
        "fd_dinov2 at n = 48: the baseline scores 500, and the reference is too small to tell how much of that is "
        "bias; differences at one n hold.",
    ]
    assert lines({}) == []
    less = {"set_distances": told({"fid": 89.8}, 12, rows)}
    assert lines(less) == [
        "fid at n = 12: the baseline scores 89.7, and real images 89.8, no less: it tells little at this n; compare at "
        "equal n only."
    ]
