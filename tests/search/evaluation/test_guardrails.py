"""Guardrails in a study: bounds from the base model's own spread, told to the sampler, and kept by front and picks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from configs import UserError
from freeu import Factors
from search.evaluation import Evaluation
from search.evaluation.guardrails import NAMES, shifts
from search.optimizer.pareto_front import find
from search.settings.job import prepare
from search.settings.reading import load
from search.storage import StudyFolder, TrialRecord, Value
from search.study.ledger import CONSTRAINT
from tests.search.study.test_coordinator import good, opened
from tests.studies import study


def table(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({name: values for name in NAMES})


def test_a_shift_is_in_spreads_between_seeds() -> None:
    rng = np.random.default_rng(0)
    prompts = rng.normal(50, 30, 4000)  # prompts differ much more than seeds do
    one, two = (prompts + rng.normal(0, 2, 4000) for _ in range(2))
    found = shifts(table(one + 3), table(one), table(two))
    assert set(found) == set(NAMES)
    assert found["saturation"] == pytest.approx(1.5, rel=0.05)
    assert shifts(table(one), table(one), table(two))["luma"] == 0
    # Few steps' images are compared with few steps', and measured in spreads of all steps', from seed to seed alone.
    assert shifts(table(one + 8), table(one + 5), table(two), table(one))["luma"] == pytest.approx(found["luma"])


def test_a_measure_that_never_differs_and_is_moved_is_out() -> None:
    same = table(np.zeros(4))
    assert shifts(table(np.full(4, -0.1)), same, same)["clipping"] == pytest.approx(-1000)
    assert shifts(same, same, same)["clipping"] == 0


def record(number: int, value: float, shift: float) -> TrialRecord:
    values = {"clip": Value(value, 0.1, 8, "up")}
    return TrialRecord(number, Factors(1 + number / 10, 1, 1, 1), "gp", "COMPLETE", values,
                       guardrails={"luma": 0.2, "saturation": shift})  # fmt: skip


def test_the_front_holds_what_is_within() -> None:
    records = [record(0, 1.0, 0.0), record(1, 9.0, -1.2), record(2, 5.0, 0.9)]
    assert [each.feasible for each in records] == [True, False, True]
    assert records[1].violation == pytest.approx(0.2)
    front = find(records, {"clip": "up"})
    assert front.numbers == (2,) and [pick.number for pick in front.picks] == [2]
    assert 1 in front.expected["clip"]  # it is known of, and learnt from
    assert TrialRecord.from_dict(records[1].as_dict()) == records[1]


def test_optuna_is_told(tmp_path: Path) -> None:
    def scored(factors: Factors) -> Evaluation:
        return replace(good(factors), per_image=pd.DataFrame({"b1": [factors.b1]}))

    def shifts(found: pd.DataFrame, base: pd.DataFrame, whole: pd.DataFrame) -> dict[str, float]:
        return {"luma": 3 * float(found["b1"][0] - base["b1"][0])}

    one = opened(tmp_path, scored)
    one.run(9, shifts)
    trials = optuna.load_study(study_name=one.storage.folder.name, storage=one.storage.folder.optuna_url).trials
    found = {each.number: each for each in one.records()}
    assert len(trials) == 9
    for trial in trials:
        assert trial.constraints[CONSTRAINT] == pytest.approx(found[trial.number].violation)
    assert {each.feasible for each in found.values()} == {True, False}
    assert all(each.guardrails["luma"] == pytest.approx(3 * (each.factors.b1 - 1)) for each in found.values())


def test_in_a_study_of_the_real_model(tmp_path: Path) -> None:
    settings = dict(model="shapes", limit=16, objectives="clip", steps=4, mlruns=tmp_path, study="s")
    said = study(trials=2, **settings)
    assert "differ between seeds" in said and "out of bounds" in said
    folder = StudyFolder(tmp_path, "s")
    base, published = folder.read_trials()
    assert set(base.guardrails.values()) == {0.0} and not published.feasible
    assert set(NAMES) <= set(folder.read_scores(0).columns)
    # A resumed study measures the spread no second time, and knows it.
    before = folder.guardrails.read_bytes()
    said = study(trials=3, **settings)
    assert "between seeds" not in said and folder.guardrails.read_bytes() == before
    assert folder.read_trials()[2].guardrails
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()], "tags.`freeu.trial` = '1'")
    assert runs[0].data.tags["freeu.within_guardrails"] == "no"
    assert runs[0].data.metrics["guardrail.contrast"] == pytest.approx(published.guardrails["contrast"])
    # Without guardrails it is another study.
    with pytest.raises(UserError, match="guardrails"):
        study(trials=4, guardrails=False, **settings)


def test_a_guardrail_is_no_objective() -> None:
    with pytest.raises(UserError, match="saturation is a guardrail"):
        prepare(load(None, {"objectives": "clip,saturation"}))
