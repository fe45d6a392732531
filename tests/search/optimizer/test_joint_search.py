"""Sampling settings searched with the factors: what a candidate is, FreeU off in its turn, and the tuned baseline."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import optuna
import pytest

from configs import UserError
from freeu import IDENTITY, Candidate, Factors, Sampling
from search.evaluation import Evaluation
from search.optimizer.acquisition import FrontSampler
from search.optimizer.pareto_front import find
from search.optimizer.space import Space, off, warm
from search.optimizer.space_file import load
from search.storage import TrialRecord, Value
from search.study.queue import OFF_TURN
from tests.search.study.test_coordinator import opened

OWN = Sampling(guidance=3.0, steps=12)
TEXT = """\
sampling:
  guidance: [1, 5]
  steps: {low: 4, high: 16}
  scheduler: [euler_ancestral, DPM++ 2M Karras]
"""


def space_of(text: str, folder: Path) -> Space:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text(text)
    return load(folder / "space.yaml", "v2", "width", OWN)


def test_a_candidate_names_what_the_study_has_otherwise(tmp_path: Path) -> None:
    space = space_of(TEXT, tmp_path)
    params = {"b1": 1.1, "b2": 1.0, "s1": 0.9, "s2": 1.0, "guidance": 3.0, "steps": 8, "scheduler": "Euler a"}
    candidate = space.candidate(params)
    assert candidate == Candidate(Factors(1.1, 1, 0.9, 1), Sampling(steps=8, scheduler="Euler a"))
    assert space.params(candidate) == params and space.holds(candidate)
    assert space.settings(candidate) == {"guidance": 3.0, "steps": 8, "scheduler": "Euler a"}
    assert not space.holds(Candidate(IDENTITY, Sampling(guidance=7.0)))


def test_what_is_not_searched_is_not_brought_along(tmp_path: Path) -> None:
    space = space_of("sampling:\n  guidance: [1, 5]\n", tmp_path)
    other = Candidate(Factors(1.1, 1, 1, 1), Sampling(guidance=2.0, steps=50, negative_prompt="blurry"))
    assert warm([other], space) == [Candidate(Factors(1.1, 1, 1, 1), Sampling(guidance=2.0))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sampling:\n  guidence: [1, 5]\n", "guidance"),
        ("sampling:\n  steps: 20\n", "give it with --steps 20"),
        ("guidance: [1, 5]\n", "put it under sampling:"),
        ("sampling:\n  scheduler: [Euler a, Eular]\n", "Euler"),
        ("sampling:\n  steps: [4.5, 16]\n", "whole numbers"),
        ("sampling:\n  eta: [0, 2]\n", "eta at 2"),
        ("sampling: 7\n", "expected names with ranges"),
    ],
)
def test_a_group_that_cant_be(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"space\.yaml") as error:
        space_of(text, tmp_path)
    assert said in str(error.value)


@pytest.mark.parametrize(("own", "usual"), [("DDIM", 0.0), ("TCD", 0.3)])
def test_eta_begins_where_the_scheduler_has_it(own: str, usual: float, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("sampling:\n  eta: [0, 1]\n  clip_skip: [1, 3]\n")
    space = load(tmp_path / "space.yaml", "v2", "width", Sampling(guidance=3.0, scheduler=own))
    baseline = off(space)
    assert space.params(baseline)["eta"] == usual and space.params(baseline)["clip_skip"] == 1
    assert space.holds(baseline) and space.unit(baseline)[-2:] == [usual, 0.0]
    assert space.candidate({**space.params(baseline), "eta": 0.5}).sampling == Sampling(eta=0.5)


def test_eta_is_searched_with_schedulers_that_take_it(tmp_path: Path) -> None:
    """However the YAML orders them; and where it is 0 that is said to TCD, whose own is not."""
    text = "sampling:\n  eta: [0, 1]\n  scheduler: [Euler a, DDIM, TCD]\n"
    space = space_of(text, tmp_path)
    trials = [optuna.trial.FixedTrial({"scheduler": name, "eta": 0.0, **dict.fromkeys(("b1", "b2", "s1", "s2"), 1.0)})
              for name in ("Euler a", "DDIM", "TCD")]  # fmt: skip
    found = [space.candidate(space.suggest(trial)).sampling for trial in trials]
    assert found == [Sampling(scheduler="Euler a"), Sampling(scheduler="DDIM"), Sampling(scheduler="TCD", eta=0.0)]
    assert [space.holds(Candidate(IDENTITY, each)) for each in found] == [True] * 3


def scored(factors: Factors) -> Evaluation:
    values = {"clip": Value(factors.b1, 0.1, 4, "up"), "fid": Value(factors.s1, 0.1, 4, "down")}
    return Evaluation(values, 4, seconds={"total": 0.1}, unet_evaluations=4)


@pytest.mark.parametrize("sampler", ["gp", "random", "tpe"])
def test_a_quarter_of_the_trials_has_freeu_off(sampler: str, tmp_path: Path) -> None:
    space = space_of(TEXT, tmp_path / "space")
    study = opened(tmp_path / "study", scored, sampler, space=space)
    study.run(28)
    tuned = [record for record in study.records() if record.origin == "tuned baseline"]
    assert all(record.candidate.off and not record.candidate.baseline for record in tuned)
    assert len({record.candidate for record in tuned}) == len(tuned)
    assert [record.number % OFF_TURN for record in tuned] == [OFF_TURN - 1] * len(tuned)
    searched = [record for record in study.records() if record.number > 7]
    assert Counter(record.candidate.off for record in searched)[True] == len(searched) // OFF_TURN


def test_without_sampling_settings_none_has(tmp_path: Path) -> None:
    study = opened(tmp_path, scored)
    study.run(20)
    assert sum(record.candidate.off for record in study.records()) == 1


def test_the_sampler_chooses_the_best_for_what_is_fixed() -> None:
    """The objective's best y is x: where x is held at 0.2, y has to come near 0.2, and at 0.9 near 0.9."""
    study = optuna.create_study(direction="maximize", sampler=FrontSampler(0))
    for _ in range(40):
        trial = study.ask()
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        study.tell(trial, -((x - y) ** 2))
    for held in (0.2, 0.9):
        study.enqueue_trial({"x": held})
        study.sampler = FrontSampler(1)
        trial = study.ask()
        assert trial.suggest_float("x", 0, 1) == held
        assert trial.suggest_float("y", 0, 1) == pytest.approx(held, abs=0.2)
        study.tell(trial, 0.0)


def record(number: int, clip: float, fid: float, candidate: Candidate) -> TrialRecord:
    values = {"clip": Value(clip, 0.1, 8, "up", 0.1), "fid": Value(fid, 0.1, 8, "down", 0.1)}
    return TrialRecord(number, candidate.factors, "gp", "COMPLETE", values, images=8, sampling=candidate.sampling)


def test_a_picks_rival_is_the_one_without_freeu_that_is_hardest_to_beat(tmp_path: Path) -> None:
    space = space_of("b1: [0.8, 1.8]\n", tmp_path)
    at = {scale: off(space, Sampling(guidance=scale)) for scale in (1.5, 6.0)}
    done = [
        record(0, 90.0, 20.0, off(space)),
        record(1, 91.0, 19.0, Candidate(Factors(1.1, 1, 1, 1))),
        record(2, 90.9, 19.2, at[6.0]),
        record(3, 89.0, 10.0, at[1.5]),
    ]
    front = find(done, {"clip": "up", "fid": "down"}, space)
    assert set(front.numbers) == {1}  # FreeU off elsewhere is no answer, however good
    assert front.rivals == {1: 2}  # its largest gains: 1 to the baseline, 0.2 to trial 2, 2 to trial 3
    assert find(done[:2], {"clip": "up", "fid": "down"}, space).rivals == {}
