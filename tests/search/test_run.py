"""A whole study with a fake model: what it prints, what it leaves, what it refuses."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from configs import UserError
from freeu import IDENTITY, Controls, Factors
from freeu.factors import Version
from search.evaluation.guardrails import NAMES
from search.optimizer import space_file
from search.optimizer.space_file import default
from search.session import run_study
from search.settings.config import StudyConfig
from search.settings.job import prepare
from search.storage import StudyFolder
from search.study.plan import plan
from search.study.printed_result import shown_rows
from search.study.result import at_the_ends
from tests.search.fakes import FakeGenerator, load_fakes, metrics, settings


def study(config: StudyConfig, generator: FakeGenerator | None = None) -> tuple[dict[str, Any], str]:
    out = io.StringIO()
    console = Console(file=out, width=200)
    made = generator or FakeGenerator()
    return run_study(config, console, lambda config, spec: (made, metrics(config))), out.getvalue()


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "search.run", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd or here,
        env={"PYTHONPATH": str(here), "PATH": "/usr/bin:/bin", "COLUMNS": "200", "HOME": str(cwd or here)},
    )


def test_two_workers_find_what_one_does(tmp_path: Path) -> None:
    """Candidates of a sampler that doesn't learn, in another order: the same scores, front and verdict."""
    alone, _ = study(settings(tmp_path / "a", racing=False), FakeGenerator())
    config, console = settings(tmp_path / "b", racing=False, workers=2), Console(file=io.StringIO(), width=200)
    both = run_study(config, console, load_fakes)
    one, two = (StudyFolder(tmp_path / name / "mlruns", "small").read_trials() for name in "ab")
    scores = [{r.factors: {name: v.value for name, v in r.values.items()} for r in records} for records in (one, two)]
    assert scores[0] == scores[1]
    assert both["verdict"].split("(")[0] == alone["verdict"].split("(")[0]
    assert {pick["pick"]: pick["factors"] for pick in both["picks"]} == {
        pick["pick"]: pick["factors"] for pick in alone["picks"]
    }


def test_a_study_from_plan_to_verdict_then_again_then_more(tmp_path: Path) -> None:
    generator = FakeGenerator()
    result, said = study(settings(tmp_path), generator)
    for word in (
        "10 trials",
        "U-Net evaluations",
        "candidates",
        "10/10",
        "The Pareto front",
        "search.export",
        result["verdict"],
    ):
        assert word in said
    assert result["verdict"].startswith("FreeU ")
    folder = StudyFolder(tmp_path / "mlruns", "small")
    assert json.loads(folder.result.read_text()) == result
    assert result["objectives"] == {"clip": "up", "aesthetic": "up", "fid": "down"}
    names = ["best-clip", "best-aesthetic", "best-fid", "knee", "most-improved"]
    confirmed = {pick["pick"] for pick in result["picks"] if pick["scores"]}
    ordered = sorted(names, key=lambda name: name not in confirmed)  # the finalists before all
    assert [pick["pick"] for pick in result["picks"]] == ordered
    assert all(list(pick["guardrails"]) == list(NAMES if pick["scores"] else ()) for pick in result["picks"])
    records = folder.read_trials()
    assert len(records) == 10
    assert list(folder.read_scores(3).columns) == ["prompt", "seed", "clip", "aesthetic", *NAMES]
    assert folder.read_scores(3)["clip"].mean() == pytest.approx(records[3].values["clip"].value)
    assert folder.grid_file(3).exists()
    # the same prompts and seeds in every trial; other seeds for the guardrails' spread; others, and another half of the
    # prompts, in the confirmation
    pairs = list(dict.fromkeys(call[1:] for call in generator.calls))
    assert len(pairs) == 3
    searched, spread, held_out = pairs
    assert searched[0] == spread[0]
    assert set(searched[0]).isdisjoint(held_out[0])
    assert len({*searched[1], *spread[1], *held_out[1]}) == sum(len(seeds) for _, seeds in pairs)

    idle = FakeGenerator()
    again, said = study(settings(tmp_path), idle)
    assert again == result
    assert "is finished, with 10 trials" in said
    assert idle.calls == []
    planned = plan(prepare(settings(tmp_path)))
    assert planned.lines()[0] == "study 'small' is finished, with 10 trials; a larger --trials continues it"
    assert planned.as_dict()["unet_evaluations"] == planned.as_dict()["seconds"] == 0
    more, said = study(settings(tmp_path, trials=12), FakeGenerator())
    assert more["trials"] == 12
    assert "10 of them done" in said
    same = more["finalists"] == result["finalists"]  # or they are confirmed with less error, on seeds of their own
    assert more["confirmation"]["number"] == (1 if same else 2)
    with pytest.raises(UserError, match="--limit 6, was 8"):
        study(settings(tmp_path, trials=12, limit=6))
    with pytest.raises(UserError, match="--sampler tpe, was random"):
        study(settings(tmp_path, trials=14, sampler="tpe"))
    other = FakeGenerator()
    other.identity = "e" * 64
    with pytest.raises(UserError, match="eeee, was ffff"):
        study(settings(tmp_path, trials=14), other)


def test_mlflow_and_optuna_agree(tmp_path: Path) -> None:
    import optuna
    from mlflow import MlflowClient

    study(settings(tmp_path, trials=4, objectives="clip"))
    folder = StudyFolder(tmp_path / "mlruns", "small")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert {run.info.status for run in runs} == {"FINISHED"}
    children = {run.data.tags.get("freeu.trial"): run.data.metrics.get("clip") for run in runs}
    found = optuna.load_study(study_name="small", storage=folder.optuna_url).trials
    told = {str(t.number): t.values[0] for t in found if t.state.name == "COMPLETE"}
    assert {k: v for k, v in children.items() if k is not None} == pytest.approx(told)


def test_no_freeu_as_the_best_is_said(tmp_path: Path) -> None:
    result, said = study(settings(tmp_path, objectives="aesthetic", trials=8))
    assert [(pick["number"], pick["scores"]) for pick in result["picks"]] == [(0, {})]
    assert "FreeU is not shown to help here: no candidate was better" in said


def test_the_take_away_is_what_the_verdict_stands_on(tmp_path: Path) -> None:
    for place, helps in (("good", True), ("bad", False)):
        objectives = "clip" if helps else "aesthetic"
        result, said = study(settings(tmp_path / place, objectives=objectives, trials=12))
        helped = result["verdict"].startswith("FreeU helps here")
        assert helped is helps
        if helped:
            stands = f"{result['take_away']} (trial {result['finalists'][0]})"
            assert stands in result["verdict"] and f"--pick {result['take_away']}" in said
        else:
            assert result["take_away"] is None and "export      nothing: keep FreeU off" in said


def test_the_front_in_the_terminal_has_the_baseline_and_ten_rows_at_most() -> None:
    def row(number: int) -> dict[str, Any]:
        factors = Factors(1 + number / 50, 1.2, 0.9, 0.8).as_dict() if number else IDENTITY.as_dict()
        return {"number": number, "factors": factors, "expected": {"clip": float(number)}}

    shown = shown_rows([row(number) for number in range(30, 0, -1)], row(0))
    assert [each["number"] for each in shown][:2] == [0, 1] and shown[-1]["number"] == 30 and len(shown) == 10
    few = [row(number) for number in (3, 0, 1)]
    assert [each["number"] for each in shown_rows(few, row(0))] == [0, 3, 1]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted(FakeGenerator):
        def generate(self, *arguments: Any) -> Any:
            if len(self.calls) == 3:
                raise KeyboardInterrupt
            return super().generate(*arguments)

    out = io.StringIO()
    config = settings(tmp_path)
    with pytest.raises(typer.Exit) as ended:
        run_study(config, Console(file=out), lambda config, spec: (Interrupted(), metrics(config)))
    assert ended.value.exit_code == 130
    assert "run the same command again to resume" in out.getvalue()
    result, _ = study(config)
    records = StudyFolder(tmp_path / "mlruns", "small").read_trials()
    assert result["trials"] == 10 == len(records) and all(r.complete for r in records)


def test_minutes_end_the_search_and_leave_the_confirmation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much is set aside for it: test_budget.py."""
    generator = FakeGenerator()
    monkeypatch.setattr(
        "search.study.budget.monotonic",
        lambda: time.monotonic() + (3600 if len(generator.calls) > 9 else 0),
    )
    result, said = study(settings(tmp_path, minutes=50, trials=500), generator)
    assert "the search ends: 50 minutes, confirmation included, are used up" in said
    assert 2 <= result["trials"] < 12
    assert any(pick["scores"] for pick in result["picks"])


def test_long_prompts_are_named(tmp_path: Path) -> None:
    config = settings(tmp_path, trials=2, limit=24)
    long = "one very long prompt that no text encoder with a window this short would ever read to its end"
    with Path(str(config.prompts)).open("a") as stream:
        stream.write(long + "\n")
    _, said = study(config)
    assert "warning: prompts longer than the text encoder takes" in said
    assert "one very long prompt" in said


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    from configs import cli

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/x/trials/0001.json")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(StudyFolder, "write_trial", full)
        study(settings(tmp_path))
    app = typer.Typer()
    app.command()(lambda: full())
    monkeypatch.setattr(sys, "argv", ["run"])
    with pytest.raises(SystemExit) as ended:
        cli.main(app)
    assert ended.value.code == 2
    assert "no space left for /x/trials/0001.json" in capsys.readouterr().err
    assert study(settings(tmp_path))[0]["trials"] == 10


@pytest.mark.parametrize(
    "doing",
    [
        "from search.run import app; app(['--help'], standalone_mode=False)",
        "from search.run import app; app(['--dry-run', '--mlruns', MLRUNS], standalone_mode=False)",
    ],
    ids=["help", "dry run"],
)
def test_help_and_a_dry_run_load_nothing_heavy(tmp_path: Path, doing: str) -> None:
    script = (
        f"import sys; from pathlib import Path; MLRUNS = {str(tmp_path / 'm')!r}; {doing}; "
        "print([m for m in ('torch', 'optuna', 'mlflow', 'pandas', 'scipy', 'diffusers') if m in sys.modules])"
    )
    here = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=here)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "shaeps"), "did you mean 'shapes'"),
        (("--objectives", "clpi"), "did you mean 'clip'"),
        (("--prompts", "none.txt"), "none.txt does not exist"),
        (("--minutes", "-2"), "--minutes is -2.0"),
        (("--config", "none.yaml"), "can't read none.yaml"),
        (("--limit", "12"), "fid needs at least 16 images, and there are 12 prompts"),
        (("--mlruns", "file"), "is a file"),
        (("--scheduler", "Eular"), "did you mean 'Euler'"),
        (("--size", "100x100"), "multiples of 8"),
        (("--clip-skip", "40"), "the model's text encoder has"),
    ],
)
def test_bad_input_ends_with_2_and_a_sentence(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "file").write_text("x")
    done = command("--dry-run", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr + done.stdout


def test_one_trial_is_no_verdict(tmp_path: Path) -> None:
    result, _ = study(settings(tmp_path, trials=1))
    assert result["verdict"].startswith("Only the baseline was tried, so nothing is known of FreeU here")


def test_mlflow_is_made_again_where_it_was_deleted(tmp_path: Path) -> None:
    import shutil

    from mlflow import MlflowClient

    first, _ = study(settings(tmp_path / "a", trials=3, objectives="clip"))
    # A copy without the database: MLflow remembers, within a process, the ones that it has opened.
    shutil.copytree(tmp_path / "a" / "mlruns" / "studies", tmp_path / "b" / "mlruns" / "studies")
    idle = FakeGenerator()
    assert study(settings(tmp_path / "b", trials=3, objectives="clip"), idle)[0] == first
    assert idle.calls == []  # from the study's folder alone
    client = MlflowClient(f"sqlite:///{tmp_path / 'b' / 'mlruns' / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert sorted(run.data.tags.get("freeu.trial", "study") for run in runs) == ["0", "1", "2", "study"]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_another_space_and_what_was_found_before(tmp_path: Path) -> None:
    study(settings(tmp_path, trials=9))
    (tmp_path / "space.yaml").write_text("b1: [0.9, 1.7]\nstop: [0.5, 1.0]\n")
    again = settings(tmp_path, trials=9, study="narrow", space=str(tmp_path / "space.yaml"), start_from=["small"])
    _, said = study(again)
    assert "searching b2, s1, s2, b1, stop" in said or "searching b1, b2, s1, s2, stop" in said
    folder = StudyFolder(tmp_path / "mlruns", "narrow")
    records = folder.read_trials()
    front = {tuple(row["factors"][name] for name in ("b1", "b2", "s1", "s2"))
             for row in json.loads(StudyFolder(tmp_path / "mlruns", "small").result.read_text())["front"]}  # fmt: skip
    started = [record.factors for record in records if record.origin == "from"]
    assert started and all((each.b1, each.b2, each.s1, each.s2) in front for each in started)
    assert any(record.factors.controls.stop < 1 for record in records)
    with pytest.raises(UserError, match="--from nowhere: there is no such preset file, and no finished study"):
        prepare(settings(tmp_path, start_from=["nowhere"]))
    # Another space is another study.
    (tmp_path / "space.yaml").write_text("b1: [0.9, 1.6]\n")
    with pytest.raises(UserError, match="space"):
        study(again)


def test_a_start_that_failed_leaves_no_study(tmp_path: Path) -> None:
    def load(config: StudyConfig, spec: Any) -> Any:
        raise UserError("no such device")

    config = settings(tmp_path)
    with pytest.raises(UserError, match="no such device"):
        run_study(config, Console(file=io.StringIO()), load)
    assert not StudyFolder(config.mlruns, "small").root.exists()
    study(config)
    with pytest.raises(UserError, match="no such device"):
        run_study(settings(tmp_path, trials=12), Console(file=io.StringIO()), load)
    assert len(StudyFolder(config.mlruns, "small").read_trials()) == 10


def test_picks_at_the_ends_of_the_ranges_are_named() -> None:
    space = default()
    picks = [
        {"pick": "best-clip", "factors": Factors(0.8, 0.802, 0.5, 0.0).as_dict()},
        {"pick": "knee", "factors": Factors(0.8, 1.2, 1.2, 0.0).as_dict()},
    ]
    assert at_the_ends(space, picks) == (
        "At the edge of the searched range: b1 0.8 (best-clip, knee); b2 0.8 (best-clip); s1 1.2 (knee). Better values "
        "may lie beyond it; --space FILE widens the ranges."
    )
    assert at_the_ends(space, [{"pick": "knee", "factors": Factors(1.2, 1.2, 0.5, 0.5).as_dict()}]) == ""


def test_ends_that_nothing_lies_beyond_are_not_named(tmp_path: Path) -> None:
    """A control's own limit, and a dimension that is not in force for the pick."""
    text = "version: [v1, v2]\nb1: [1, 1.6]\nstop: {low: 0.3, high: 1, when: {version: v2}}\nthreshold: [1, 4]\n"
    (tmp_path / "space.yaml").write_text(text)
    space = space_file.load(tmp_path / "space.yaml", "v2", "width")

    def said(version: Version, **controls: Any) -> str:
        factors = Factors(1.3, 1.2, 0.9, 0.9, version, controls=Controls(**controls))
        return at_the_ends(space, [{"pick": "knee", "factors": factors.as_dict()}])

    assert said("v2", stop=1.0) == said("v1") == said("v2", stop=0.5, threshold=1) == ""
    assert "stop 0.3 (knee)" in said("v2", stop=0.3) and "threshold 4 (knee)" in said("v2", threshold=4)


def test_commands_to_type_are_those_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    from configs import cli

    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(cli.shutil, "which", lambda name: sys.executable)
    assert cli.python() == "python"
    monkeypatch.setattr(cli.shutil, "which", lambda name: "/elsewhere/python")
    assert cli.python() == sys.executable
    assert cli.typed("show") == f"{sys.executable} -m search.show"
    monkeypatch.setenv("UV", "/bin/uv")
    assert cli.python() == "uv run python"
    monkeypatch.setattr(sys, "argv", ["/here/bin/freeu-search", "run"])
    assert cli.typed("show") == "uv run freeu-search show"
    monkeypatch.delenv("UV")
    assert cli.typed("show") == "freeu-search show"
