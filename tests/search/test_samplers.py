from __future__ import annotations

import warnings

import optuna
import pytest

from configs import UserError
from search.samplers import NAMES, build, check, derived
from search.space import default


def proposals(name: str, seed: int, trials: int, resume_at: int | None = None) -> list[tuple[float, ...]]:
    """What a sampler proposes for a study of two objectives; a resume makes the sampler anew each time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(trials):
            study.sampler = build(name, seed, number, default())
            trial = study.ask(default().distributions())
            study.tell(trial, [sum(trial.params.values()), trial.params["b1"] ** 2])
    return [tuple(trial.params.values()) for trial in study.trials]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "botorch"])
def test_proposals_lie_in_the_space_repeat_by_seed_and_never_each_other(name: str) -> None:
    found = proposals(name, 0, 9)
    assert len(set(found)) == 9
    assert found == proposals(name, 0, 9)
    assert found != proposals(name, 1, 9)
    for point in found:
        assert all(d.low <= x <= d.high for x, d in zip(point, default().distributions().values(), strict=True))


def test_botorch_says_what_it_needs() -> None:
    try:
        import optuna_integration  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="--sampler botorch needs more packages"):
            build("botorch", 0, 0, default())
    else:
        assert len(set(proposals("botorch", 0, 4))) == 4


def test_an_unknown_sampler_is_refused_with_the_nearest() -> None:
    assert check("tpe") == "tpe"
    with pytest.raises(UserError, match="unknown sampler 'tpee': did you mean 'tpe'"):
        check("tpee")


def test_derived_seeds_differ_by_purpose() -> None:
    seeds = {derived(0), derived(1), derived(0, "a"), derived(0, "a", 1), derived(0, "a", 2)}
    assert len(seeds) == 5
