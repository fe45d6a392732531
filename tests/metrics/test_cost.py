"""The U-Net's evaluations as an objective."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import metrics
from freeu import IDENTITY, Candidate, Sampling
from metrics.base import Batch, MetricError
from search.evaluation import Evaluator, Task
from tests.search.fakes import FakeGenerator

IMAGES = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)


class Counted(FakeGenerator):
    """Two evaluations a step."""

    steps = 10

    def unet_evaluations(self, n: int) -> int:
        return 2 * self.steps * n

    def with_sampling(self, sampling: Sampling) -> Counted:
        other = Counted()
        other.steps = sampling.steps or self.steps
        return other


def test_it_counts_a_candidates_own_steps() -> None:
    evaluator = Evaluator(Counted(), {"cost": metrics.build("cost", {}, "cpu", Path())}, ["a", "b"], [0, 1])
    for sampling, expected in ((Sampling(), 20), (Sampling(steps=4), 8)):
        found = evaluator(Task(Candidate(IDENTITY, sampling), 2))
        assert found.values["cost"].value == expected and found.unet_evaluations == 2 * expected
        assert found.values["cost"].direction == "down"


def test_a_video_has_the_cost_of_all_its_frames() -> None:
    found = metrics.build("cost", {}, "cpu", Path()).score(Batch(IMAGES, ("a", "a", "b", "b"), 2, 24))
    assert found.per_image is not None and np.array_equal(found.per_image, [24, 24])


def test_images_alone_dont_tell_it() -> None:
    with pytest.raises(MetricError, match="a study's objective"):
        metrics.build("cost", {}, "cpu", Path()).score(Batch(IMAGES, ("a",) * 4))
