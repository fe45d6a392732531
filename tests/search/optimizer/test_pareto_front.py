from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from freeu import IDENTITY, Factors, Sampling
from search.optimizer.pareto_front import find, hypervolume, nondominated, paired_spreads, posterior, unbeaten
from search.optimizer.space_file import default
from search.storage import TrialRecord, Value

DIRECTIONS = {"clip": "up", "fid": "down"}


def record(number: int, clip: float, fid: float, factors: Factors = IDENTITY) -> TrialRecord:
    values = {"clip": Value(clip, 0.01, 48, "up"), "fid": Value(fid, math.nan, 48, "down")}
    return TrialRecord(number, factors, "sobol", "COMPLETE", values)


def test_nondominated_by_hand() -> None:
    table = np.array([[1, 5], [2, 4], [2, 3], [3, 1], [0, 0], [3, 1]])
    assert nondominated(table).tolist() == [True, True, False, True, False, True]


def test_few_trials_are_taken_as_observed_and_down_means_down() -> None:
    front = find([record(0, 0.3, 50), record(1, 0.4, 60), record(2, 0.2, 55)], DIRECTIONS)
    assert front.numbers == (0, 1)
    assert {pick.name: pick.number for pick in front.picks if pick.name != "knee"} == {
        "best-clip": 1,
        "best-fid": 0,
    }


def test_the_knee_is_the_balanced_one() -> None:
    front = find([record(0, 0.0, 10), record(1, 0.8, 12), record(2, 1.0, 20)], DIRECTIONS)
    assert {pick.name: pick.number for pick in front.picks if pick.name != "most-improved"} == {
        "best-clip": 2,
        "best-fid": 0,
        "knee": 1,
    }


def test_the_most_improved_gains_most_on_average_over_the_baseline() -> None:
    other = Factors(1.3, 1.4, 0.9, 0.2)
    # By the front's spans, 0.9 in clip and 11 in fid: trial 1 gains 0.89 - 0.27, trial 2 1.11 - 0.91, 3 0.11 + 0.09.
    scored = [record(1, 0.9, 13, other), record(2, 1.1, 20, other), record(3, 0.2, 9, other)]
    scored.append(record(4, 0.1, 10, other))
    assert [pick.number for pick in find([record(0, 0.1, 10), *scored], DIRECTIONS).picks][-1] == 1
    assert find([record(0, 0.1, 10), *scored], DIRECTIONS).picks[-1].name == "most-improved"
    for without in (scored, [record(0, 0.1, 10), *scored[1:2]]):  # the baseline unknown; as much lost as gained
        assert "most-improved" not in {pick.name for pick in find(without, DIRECTIONS).picks}


def test_one_objective_has_one_pick_and_failed_trials_none() -> None:
    failed = TrialRecord(7, IDENTITY, "gp", "FAIL", reason="x")
    front = find([record(0, 0.3, 50), failed, record(1, 0.4, 60)], {"clip": "up"})
    assert [(pick.name, pick.number) for pick in front.picks] == [("best-clip", 1)]


def truth(x: np.ndarray) -> np.ndarray:
    return -((x - 0.6) ** 2).sum(-1)


@pytest.mark.parametrize("known", [True, False])
def test_the_posterior_mean_is_nearer_to_the_truth_than_what_was_observed(known: bool) -> None:
    rng = np.random.default_rng(0)
    ratios = []  # of the squared errors; a fit that only returned the observations would have 1
    for _ in range(10):
        x, noise = rng.random((30, 4)), 0.15
        y = truth(x) + noise * rng.standard_normal(30)
        mean = posterior(x, y, np.full(30, noise if known else math.nan))[0]
        ratios.append(((mean - truth(x)) ** 2).sum() / ((y - truth(x)) ** 2).sum())
    assert np.mean(ratios) < 0.8  # 0.56 and 0.67 over 30 draws
    assert max(ratios) < 1.4


def test_without_noise_the_observations_are_met_and_units_dont_matter() -> None:
    x = np.random.default_rng(1).random((20, 4))
    y = truth(x)
    assert posterior(x, y, np.full(20, 1e-9))[0] == pytest.approx(y, abs=0.02)
    assert posterior(x, 1000 * y + 5, np.full(20, 1e-6))[0] == pytest.approx(1000 * y + 5, abs=20)
    assert posterior(x, np.full(20, 3.0), np.full(20, 0.1))[0].tolist() == [3.0] * 20


def test_what_is_exact_is_expected_as_it_is() -> None:
    """A number of the U-Net's evaluations, not smooth in the factors at all."""
    rng = np.random.default_rng(1)
    x, y = rng.random((20, 4)), rng.integers(4, 40, 20).astype(float)
    mean, deviation = posterior(x, y, np.zeros(20))
    assert mean.tolist() == y.tolist() and not deviation.any()
    assert posterior(x, y, np.full(20, 1e-9))[0].tolist() != y.tolist()


def test_a_front_keeps_what_is_not_surely_beaten() -> None:
    table = np.array([[1.0, 1.0], [0.9, 0.9], [0.5, 0.5]])
    assert unbeaten(table, np.full((3, 2), 0.06)).tolist() == [True, True, False]
    assert unbeaten(table, np.full((3, 2), 0.04)).tolist() == [True, False, False]
    # One objective alone that may be better is enough to stay.
    assert unbeaten(table, np.array([[0.04, 0.04], [0.04, 0.2], [0.0, 0.0]])).tolist() == [True, True, False]


@pytest.mark.parametrize(("error", "stays"), [(0.4, True), (0.05, True), (0.02, False)])
def test_luck_alone_does_not_take_the_baseline_off_the_front(error: float, stays: bool) -> None:
    """A candidate that may be better by luck stands beside the baseline; picks are made as if it did not."""
    scored = {0: IDENTITY, 1: Factors(1.3, 1.4, 0.9, 0.2)}
    values = {n: {"clip": Value(0.1 * n, 0.01, 48, "up", paired=error)} for n in scored}
    front = find([TrialRecord(n, f, "gp", "COMPLETE", values[n]) for n, f in scored.items()], {"clip": "up"})
    assert front.numbers == ((0, 1) if stays else (1,))
    assert [pick.number for pick in front.picks] == [1]


def test_a_lucky_outlier_does_not_become_the_pick() -> None:
    """Five like candidates score about 0, one of them luckily 0.5; five others score 0.4 each time."""
    poor = [Factors(0.9, 0.9 + i / 100, 0.2, 0.2) for i in range(5)]
    sound = [Factors(1.6, 1.6 + i / 100, 0.9, 0.9) for i in range(5)]
    scores = [0.0, 0.05, 0.5, -0.05, 0.0, 0.4, 0.42, 0.38, 0.4, 0.41]
    records = [record(k, clip, 1, f) for k, (clip, f) in enumerate(zip(scores, poor + sound, strict=True))]
    records = [replace(r, values={"clip": replace(r.values["clip"], paired=0.2 * math.sqrt(2))}) for r in records]
    assert paired_spreads(records, ["clip"])["clip"] == pytest.approx(dict.fromkeys(range(10), 0.2))
    assert find(records, {"clip": "up"}).picks[0].number >= 5


def test_spreads_are_those_of_the_difference_to_the_baseline() -> None:
    def trial(number: int, images: int, paired: float, factors: Factors) -> TrialRecord:
        values = {"clip": Value(1.0, 9.0, images, "up", paired), "fid": Value(1.0, 9.0, images, "down")}
        return TrialRecord(number, factors, "gp", "COMPLETE", values, images=images)

    records = [trial(0, 48, math.nan, IDENTITY), trial(1, 48, 0.2, Factors(1.1, 1, 1, 1))]
    records += [trial(2, 48, 0.4, Factors(1.2, 1, 1, 1)), trial(3, 12, 2.0, Factors(1.3, 1, 1, 1))]
    found = paired_spreads(records, ["clip", "fid"])
    # The baseline has no difference to itself: it gets the mean of those with as many images. fid's are not known.
    assert found == {"clip": pytest.approx({k: v / math.sqrt(2) for k, v in enumerate([0.3, 0.2, 0.4, 2.0])})}


def test_the_hypervolume_of_boxes_by_hand() -> None:
    # Two boxes, 2×1 and 1×3, that share 1×1; a third point is on the wrong side of the reference.
    table = np.array([[3.0, 2.0], [2.0, 4.0], [9.0, 0.5]])
    assert hypervolume(table, np.array([1.0, 1.0])) == pytest.approx(2 * 1 + 1 * 3 - 1)
    assert hypervolume(table[2:], np.array([1.0, 1.0])) == 0


def test_a_lucky_guidance_scale_is_no_rival() -> None:
    """Tuned baselines are judged along the guidance scale: one that few prompts liked comes back to its neighbours."""

    def scored(number: int, factors: Factors, scale: float | None, clip: float, error: float) -> TrialRecord:
        values = {"clip": Value(clip, 1.0, 48, "up", error)}
        sampling = Sampling() if scale is None else Sampling(guidance=scale)
        return TrialRecord(number, factors, "gp", "COMPLETE", values, {}, 48, sampling=sampling)

    truth = {scale: -2 * np.log(scale / 2.2) ** 2 for scale in (1.5, 2.0, 2.5, 4.0, 6.0)}
    luck = {4.0: 0.8}
    tuned = [
        scored(n, IDENTITY, scale, value + luck.get(scale, 0.0), 0.5 if scale in luck else 0.03)
        for n, (scale, value) in enumerate(truth.items(), 10)
    ]
    own = [scored(0, IDENTITY, None, -2 * np.log(3 / 2.2) ** 2, 0.0), scored(1, Factors(1.3, 1, 1, 1), None, 0.1, 0.03)]
    front = find([*own, *tuned], {"clip": "up"}, default(own=Sampling(guidance=3.0)))
    found = dict(zip(truth, (front.expected["clip"][record.number] for record in tuned), strict=True))
    assert tuned[3].values["clip"].value > 0 > found[4.0]
    assert all(abs(found[scale] - value) < 0.15 for scale, value in truth.items() if scale not in luck)
    assert front.rivals[1] in (11, 12)  # the two about the best scale, of which none is known to be better
