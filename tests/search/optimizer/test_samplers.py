from __future__ import annotations

import warnings
from pathlib import Path

import optuna
import pytest

from configs import UserError
from search.optimizer.samplers import SAMPLERS, build, check, derived
from search.optimizer.space import GRID_LEVELS, SOBOL
from search.optimizer.space_file import default, load


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


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "botorch"])
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


def test_a_grid_ends(tmp_path: Path) -> None:
    from tests.search.study.test_coordinator import Silent, opened

    class Said(Silent):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def said(self, text: str) -> None:
            self.lines.append(text)

    (tmp_path / "space.yaml").write_text("s1: 0.9\ns2: 0.2\n")
    space = load(tmp_path / "space.yaml", "v2", "width")
    for again in (False, True):
        watcher = Said()
        study = opened(tmp_path, sampler="grid", space=space, watcher=watcher)
        study.run(64)
        cells = {record.factors for record in study.records() if record.origin == "grid"}
        assert len(cells) == GRID_LEVELS**2 and len(study.records()) == 2 + SOBOL + GRID_LEVELS**2
        assert watcher.lines == ["the search ends: grid has nothing left to try"], again


def test_an_unknown_sampler_is_refused_with_the_nearest() -> None:
    assert check("tpe") == "tpe"
    with pytest.raises(UserError, match="unknown sampler 'tpee': did you mean 'tpe'"):
        check("tpee")


def test_derived_seeds_differ_by_purpose() -> None:
    seeds = {derived(0), derived(1), derived(0, "a"), derived(0, "a", 1), derived(0, "a", 2)}
    assert len(seeds) == 5
