from __future__ import annotations

import warnings

import optuna
import pytest

from configs import UserError
from search.samplers import SAMPLERS, build, check, derived
from search.space import distributions


def proposals(name: str, seed: int, trials: int, resume_at: int | None = None) -> list[tuple[float, ...]]:
    """What a sampler proposes for a study of two objectives; a resume makes the sampler anew each time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(trials):
            study.sampler = build(name, seed, number)
            trial = study.ask(distributions())
            study.tell(trial, [sum(trial.params.values()), trial.params["b1"] ** 2])
    return [tuple(trial.params.values()) for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_lie_in_the_space_repeat_by_seed_and_never_each_other(name: str) -> None:
    found = proposals(name, 0, 9)
    assert len(set(found)) == 9
    assert found == proposals(name, 0, 9)
    assert found != proposals(name, 1, 9)
    for point in found:
        assert all(d.low <= x <= d.high for x, d in zip(point, distributions().values(), strict=True))


def test_an_unknown_sampler_is_refused_with_the_nearest() -> None:
    assert check("tpe") == "tpe"
    with pytest.raises(UserError, match="unknown sampler 'tpee': did you mean 'tpe'"):
        check("tpee")


def test_derived_seeds_differ_by_purpose() -> None:
    seeds = {derived(0), derived(1), derived(0, "a"), derived(0, "a", 1), derived(0, "a", 2)}
    assert len(seeds) == 5
