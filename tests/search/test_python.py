"""`import search` in Python: a study run, loaded, read as tables, exported; what is refused; what an import costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import freeu
import metrics
import search
from configs import UserError
from tests.search import made
from tests.search.fakes import FakeGenerator, settings
from tests.search.fakes import metrics as fake_metrics

DOCS = Path(__file__).parents[2] / "docs"


def fakes(config: Any, spec: Any) -> tuple[Any, dict[str, Any]]:
    return FakeGenerator(), fake_metrics(config)


def small(folder: Path, **more: Any) -> dict[str, Any]:
    kept = settings(folder, objectives="clip,aesthetic", **more)
    names = ("prompts", "mlruns", "limit", "trials", "study", "sampler", "objectives")
    return {name: getattr(kept, name) for name in names}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> search.Study:
    told: list[search.Trial] = []
    found = search.run(**small(tmp_path_factory.mktemp("python")), load=fakes, quiet=True, on_trial=told.append)
    assert [trial.number for trial in told] == list(range(10))
    return found


def test_a_study_as_tables_and_plain_objects(study: search.Study) -> None:
    trials = study.trials
    assert list(trials.index) == [record.number for record in study.records] == list(range(10))
    assert {"b1", "s2", "clip", "clip_difference", "clip_error", "images", "seconds", "front", "picks"} <= {*trials}
    base = study.baseline
    assert base is not None and base["clip_difference"] == 0 and base["origin"] == "baseline"
    row = trials.iloc[4]
    assert row["clip_difference"] == pytest.approx(row["clip"] - base["clip"])
    assert study.result is not None
    assert (
        set(study.front.index) == {row["number"] for row in study.result["front"]} == {*trials[trials["front"]].index}
    )
    assert {"clip", "expected_clip"} <= {*study.front}
    picks = study.picks
    assert set(picks.index) == {pick["pick"] for pick in study.result["picks"]}
    confirmed = picks.dropna(subset=["clip_difference"]).iloc[0]
    assert confirmed["clip_low"] <= confirmed["clip_difference"] <= confirmed["clip_high"]
    assert confirmed["clip_difference"] == pytest.approx(confirmed["clip"] - confirmed["clip_base"])
    assert study.verdict == study.result["verdict"]
    assert "finished, 10 of 10 trials" in repr(study)


def test_picks_are_set_beside_their_rival(tmp_path: Path) -> None:
    made.with_rival(made.study(tmp_path, side=8))
    picks = search.load("sunday", tmp_path).picks
    assert picks.loc["knee", "rival"] == "guidance 4" and picks.loc["knee", "clip_rival_difference"] == 0.1
    assert (picks.loc["knee", "clip_rival_low"], picks.loc["knee", "clip_rival_high"]) == (0.05, 0.15)
    assert picks.loc["best-fid"].isna()["rival"] and picks.loc["best-fid"].isna()["clip_rival_difference"]


def test_it_is_there_again_by_its_name(study: search.Study) -> None:
    again = search.load(study.name, study.folder.root.parents[1])
    assert again.trials.equals(study.trials)
    with pytest.raises(UserError, match="did you mean 'small'"):
        search.load("smal", study.folder.root.parents[1])


def test_export_and_report(study: search.Study, tmp_path: Path) -> None:
    preset = study.preset()
    assert study.result is not None
    assert preset.pick == (study.result["take_away"] or "knee")
    node = json.loads(study.export("comfyui", out=tmp_path / "freeu.json"))
    assert node == json.loads((tmp_path / "freeu.json").read_text())
    assert study.preset(3).factors == study.records[3].factors
    assert study.report(tmp_path / "report.html").read_text().startswith("<!doctype html>")
    with pytest.raises(UserError, match="unknown pick 'best-clipp'"):
        study.preset("best-clipp")


def test_settings_are_checked_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown setting 'trails': did you mean 'trials'"):
        search.run(trails=3)
    with pytest.raises(UserError, match="--trials is 0"):
        search.run(trials=0, mlruns=tmp_path)
    with pytest.raises(UserError, match="unknown version 'v3'"):
        search.run(version="v3")
    assert not list(tmp_path.iterdir())


def test_what_is_no_function_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="on_trial is 5: expected a function"):
        search.run(**small(tmp_path), load=fakes, quiet=True, on_trial=5)


def test_an_interrupted_study_goes_on(tmp_path: Path) -> None:
    def stop(trial: search.Trial) -> None:
        if trial.number == 2:
            raise KeyboardInterrupt

    given = small(tmp_path, trials=5)
    with pytest.raises(KeyboardInterrupt):
        search.run(**given, load=fakes, quiet=True, on_trial=stop)
    half = search.load("small", given["mlruns"])
    assert (half.verdict, len(half.trials)) == (None, 3)
    with pytest.raises(UserError, match="is not finished"):
        _ = half.front
    assert len(search.run(**given, load=fakes, quiet=True).trials) == 5


def test_an_import_is_light_and_says_what_there_is() -> None:
    heavy = ("torch", "pandas", "optuna", "mlflow", "pydantic", "typer", "rich")
    code = f"import sys, search; print([name for name in {heavy} if name in sys.modules]); print(dir(search))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", str(sorted(search.__all__))]
    for package in (freeu, metrics):
        assert dir(package) == sorted(package.__all__)
        assert all(getattr(package, name) is not None for name in dir(package))
        assert (Path(package.__path__[0]) / "py.typed").exists()


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code cells, one after the other, as a kernel would: on the embedded model."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads((DOCS / "python.ipynb").read_text("utf-8"))["cells"]
    names: dict[str, Any] = {"display": lambda *shown: None}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    for cell in code:
        exec(compile(cell, "docs/python.ipynb", "exec"), names)
    assert (tmp_path / "freeu.json").exists()
    assert len(names["study"].trials) == len(names["told"]) == 6
