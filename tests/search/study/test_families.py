"""A distance of sets can count beside any number of objectives, and with too few prompts nothing does."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from metrics.encoders import Encoder
from metrics.fid import Fid
from metrics.reference import Reference
from search.evaluation import Evaluators
from search.study.confirmation import FLIPS, Compare, Rows
from search.study.held_out import BASE_KEY, Sample
from search.study.looks import LEVEL, Looks
from search.study.verdict import fewest, measurable
from search.workers import SingleWorker, done

D = 6
FINALISTS, RIVAL = (3, 5), 9
PAIRS = tuple((finalist, other) for finalist in FINALISTS for other in (BASE_KEY, RIVAL))


def compared(objectives: int, prompts: int, seed: int, shift: float) -> Rows:
    """FID and further objectives, so many in all, of two finalists against two others. shift: of the first finalist's
    features towards the reference; all else is noise."""
    rng = np.random.default_rng(seed)
    names = [f"score{k}" for k in range(objectives - 1)]
    fid = Fid(Encoder("none", "none", lambda part: part), Reference.of(rng.normal(size=(4000, D))))
    metrics = {"fid": fid, **{name: SimpleNamespace(per_image=True, direction="up") for name in names}}
    shared = rng.normal(size=(prompts, D)) + 1.5

    def sample(key: int) -> Sample:
        features = shared + 0.3 * rng.normal(size=shared.shape) - shift * (key == FINALISTS[0])
        return Sample({name: rng.standard_t(4, prompts) for name in names}, {"fid": features})

    evaluator = SimpleNamespace(metrics=metrics, frames=1)
    samples = {key: sample(key) for key in (BASE_KEY, RIVAL, *FINALISTS)}
    texts = tuple(f"p{n}" for n in range(prompts))
    job = Compare(samples, PAIRS, ("fid", *names), texts, Looks(1, (prompts,)), 0, seed, 4)
    return done(SingleWorker(Evaluators({"confirm": evaluator})), job)[0]  # type: ignore[dict-item]


@pytest.mark.parametrize("objectives", range(1, 7))
def test_a_distance_counts_beside_other_objectives(objectives: int) -> None:
    found = compared(objectives, prompts=48, seed=objectives, shift=0.5)
    assert sum(len(rows) for rows in found.values()) == 4 * objectives
    for (finalist, _), rows in found.items():
        assert measurable(rows["fid"]) is (finalist == FINALISTS[0])
        assert rows["fid"]["high"] < 0 or finalist != FINALISTS[0]


def test_there_are_swaps_enough_for_a_hundred_comparisons() -> None:
    """The smallest p is one of all swaps; Holm takes it times the comparisons, and a first confirmation by 5 / 4."""
    assert 100 / (FLIPS + 1) / (Looks(1, (48,)).level / LEVEL) < LEVEL


@pytest.mark.parametrize("prompts", [4, 8])
def test_with_few_prompts_nothing_counts_however_large(prompts: int) -> None:
    """All differences of one sign have p = 2 / 2^n, and there are twelve comparisons."""
    found = compared(3, prompts, seed=0, shift=1.0)
    assert prompts < fewest(12) == 10
    assert not any(measurable(row) for rows in found.values() for row in rows.values())
