"""What every command keeps: a study named as an argument or by --study, --json, --version, help, completion; and those
that tidy up: delete, rename, doctor."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from configs import UserError
from freeu.schedulers import named
from search import delete, doctor, export, rename, report, show, ui
from search.__main__ import app as every
from search.session import run_study
from search.settings import completions
from search.settings.fingerprints import check_same
from search.storage import StudyFolder, studies
from search.storage.mlflow_location import mlflow_settings, page_path
from search.study.printed_result import tables
from search.tracking import Tracker
from tests.search import made
from tests.search.fakes import settings

COMMANDS = list(typer.main.get_group(every).commands)


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    made.study(tmp_path, "sunday")
    return tmp_path


def ran(app: typer.Typer, *arguments: object) -> Any:
    found = CliRunner().invoke(app, [str(each) for each in arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


@pytest.mark.parametrize("named", [("sunday",), ("--study", "sunday"), ()])
def test_a_study_is_an_argument_or_an_option_or_the_only_one(mlruns: Path, named: tuple[str, ...]) -> None:
    where = ("--mlruns", mlruns, "--json")
    assert json.loads(ran(show.app, *named, *where).stdout)["study"] == "sunday"
    assert json.loads(ran(report.app, *named, *where).stdout)["study"] == "sunday"
    if named:
        assert json.loads(ran(export.app, *named, *where).stdout)["study"] == "sunday"


def test_no_study_is_guessed_of_several(mlruns: Path) -> None:
    made.study(mlruns, "monday")
    with pytest.raises(UserError, match="there are 2 studies: name one of monday, sunday"):
        ran(show.app, "--mlruns", mlruns)
    with pytest.raises(UserError, match="named twice"):
        ran(report.app, "sunday", "--study", "monday", "--mlruns", mlruns)


def test_export_s_json(mlruns: Path, tmp_path: Path) -> None:
    told = json.loads(ran(export.app, "sunday", "--mlruns", mlruns, "--json", "--format", "comfyui").stdout)
    assert told["pick"] == "knee" and told["factors"]["b1"] == made.factors(1).b1
    assert "FreeU_V2" in told["text"] and told["written"] == []
    out = tmp_path / "freeu.yaml"
    told = json.loads(ran(export.app, "sunday", "--mlruns", mlruns, "--json", "--out", out).stdout)
    assert told["written"] == [str(out)] and "text" not in told


def test_the_verdict_s_pick_is_the_usual_one(mlruns: Path) -> None:
    folder = StudyFolder(mlruns, "sunday")
    result = json.loads(folder.result.read_text())
    folder.result.write_text(json.dumps(result | {"take_away": "best-fid"}))
    assert json.loads(ran(export.app, "sunday", "--mlruns", mlruns, "--json").stdout)["pick"] == "best-fid"
    alone = [one for one in result["picks"] if one["pick"] == "best-fid"]  # as a study by one objective has them
    folder.result.write_text(json.dumps(result | {"take_away": None, "picks": alone}))
    assert json.loads(ran(export.app, "sunday", "--mlruns", mlruns, "--json").stdout)["pick"] == "best-fid"


@pytest.mark.parametrize(("command", "width"), [*((each, 80) for each in COMMANDS), ("run", 120), ("export", 120)])
def test_help_is_one_style_and_breaks_no_word(command: str, width: int) -> None:
    wide = {"COLUMNS": str(width)}
    said = CliRunner().invoke(every, [command, "--help"], env=wide, terminal_width=width).stdout
    assert "<bool>" not in said and "╭─" in said, command
    assert max(map(len, said.splitlines())) <= width
    for panel in said.split("╭─")[1:]:  # what does not fit beside a flag or its value is help, in one column
        begins = {len(line) - len(line[1:].lstrip()) for line in panel.splitlines() if line.startswith("│      ")}
        assert len(begins) <= 1, (command, panel)


def test_version() -> None:
    for module in ("search", "search.studies", "metrics.score"):
        done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
        assert re.fullmatch(r"freeu-search \S.*\n", done.stdout)


def test_the_shell_completes_names() -> None:
    assert "sdxl" in completions.models("sd") and "shapes" not in completions.models("sd")
    assert completions.objectives("clip,aes") == ["clip,aesthetic"]
    assert "clip,clip" not in completions.objectives("clip,c")
    assert completions.prompt_sets("sha") == ["shapes"]
    assert completions.judges("clip,no") == ["clip,none"]
    assert completions.SETTINGS.keys() >= {"model", "sampler", "scheduler", "prompts", "objectives", "judges"}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("run --model shap", ["shapes"]),
        ("run --scheduler DDI", ["DDIM"]),
        ("run --goal b", ["balanced", "beautiful"]),
        ("score --metrics clip,dr", ["clip,drift"]),
        ("score --scorers shap", ["shapes"]),
    ],
)
def test_the_shell_completes_a_line(typed: str, offered: list[str]) -> None:
    words = {"COMP_WORDS": f"freeu-search {typed}", "COMP_CWORD": "3"}
    answer = CliRunner().invoke(
        every, prog_name="freeu-search", env={"_FREEU_SEARCH_COMPLETE": "complete_bash", **words}
    )
    assert answer.stdout.split() == offered


def test_the_shell_completes_schedulers_that_can_be_run() -> None:
    known = completions.schedulers("")
    assert {"DDIM", "DPM++_2M", "Euler_a", "default"} <= {*known} and "Euler_Karras" not in known
    assert {"Euler", "Euler_a", "Euler_Karras"} <= {*completions.schedulers("Euler")}
    assert "Euler_a_Karras" not in completions.schedulers("Euler a")  # its sigmas are its own
    for name in (*known, *completions.schedulers("DPM++ 2M")):
        assert " " not in name and (name == "default" or named(name))


def test_a_resume_names_the_flag() -> None:
    before = {"prompts": 48, "prompt_texts": "a", "racing": True, "space": {"b1": 1, "b2": 2}, "scorers": "x"}
    now = {"prompts": 24, "prompt_texts": "b", "racing": False, "space": {"b1": 1, "b2": 3}, "scorers": "y"}
    with pytest.raises(UserError) as told:
        check_same("s", before, now)
    assert (
        "(--limit 24, was 48; --racing off, was on; --space, --version, --stages: other b2; --reference, or the model's"
        " scorers: not the same)" in str(told.value)
    )


def logged(mlruns: Path) -> Tracker:
    tracker = Tracker(mlruns, "sunday")
    tracker.start({"model": "shapes"}, "f", {}, directions=made.DIRECTIONS)
    for record in StudyFolder(mlruns, "sunday").read_trials()[:3]:
        tracker.trial(record, None, None)
    return tracker


def test_a_study_is_renamed_and_deleted_with_its_runs(mlruns: Path) -> None:
    runs = logged(mlruns)._runs
    told = ran(rename.app, "sunday", "monday", "--mlruns", mlruns, "--json")
    assert json.loads(told.stdout)["mlflow_runs"] == 4
    assert studies(mlruns) == ["monday"] and not StudyFolder(mlruns, "sunday").root.exists()
    folder = StudyFolder(mlruns, "monday")
    assert folder.read_result()["study"] == "monday"  # type: ignore[index]
    found = runs.client.search_runs([runs.experiment], "tags.study = 'monday'")
    assert sorted(run.info.run_name for run in found)[-1] == "monday" and len(found) == 4
    assert page_path(mlflow_settings(mlruns), "monday").endswith("viewStateShareKey=freeu-monday")
    tags = runs.client.get_experiment(runs.experiment).tags
    assert "mlflow.sharedViewState.freeu-sunday" not in tags
    assert json.loads(tags["mlflow.sharedViewState.freeu-monday"])["searchFilter"] == "tags.study = 'monday'"

    with pytest.raises(UserError, match="--yes deletes it"):
        ran(delete.app, "monday", "--mlruns", mlruns, "--json")
    with pytest.raises(UserError, match="was not deleted: --yes deletes it"):  # nobody is there to answer
        ran(delete.app, "monday", "--mlruns", mlruns)
    with folder.locked(), pytest.raises(UserError, match="is running"):
        ran(delete.app, "monday", "--mlruns", mlruns, "--yes")
    assert json.loads(ran(delete.app, "monday", "--mlruns", mlruns, "--yes", "--json").stdout)["mlflow_runs"] == 4
    assert studies(mlruns) == [] and not folder.root.exists()
    assert not runs.client.search_runs([runs.experiment])


def test_a_name_that_is_taken_or_unfit_is_refused(mlruns: Path) -> None:
    made.study(mlruns, "monday")
    with pytest.raises(UserError, match=r"there is a .*monday already"):
        ran(rename.app, "sunday", "monday", "--mlruns", mlruns)
    with pytest.raises(UserError, match="'sunday' has that name already"):
        ran(rename.app, "sunday", "sunday", "--mlruns", mlruns)
    with pytest.raises(UserError, match="'a/b': a study's name has letters"):
        ran(rename.app, "sunday", "a/b", "--mlruns", mlruns)
    assert studies(mlruns) == ["monday", "sunday"]


def test_the_doctor_says_what_is_missing(mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(mlruns / "hub"))
    found = json.loads(ran(doctor.app, "--mlruns", mlruns, "--json").stdout)
    assert found["models"]["shapes"] is True and found["models"]["sdxl"] is False
    wanted = ["yuvalkirstain/PickScore_v1", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"]
    assert found["scorers"]["pickscore"] == wanted
    for name in wanted:
        (mlruns / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / "0").mkdir(parents=True)
    assert json.loads(ran(doctor.app, "--mlruns", mlruns, "--json").stdout)["scorers"]["pickscore"] == []
    assert found["places"]["results"]["studies"] == 1
    said = ran(doctor.app, "--mlruns", mlruns).stdout
    assert "sdxl" in said and "downloads" in said and str(mlruns) in said.replace("\n", "")


def test_ctrl_c_before_anything_is_there_promises_no_resume(tmp_path: Path) -> None:
    def interrupted(config: Any, spec: Any) -> Any:
        raise KeyboardInterrupt

    out = io.StringIO()
    with pytest.raises(typer.Exit):
        run_study(settings(tmp_path), Console(file=out, width=200), interrupted)
    assert "run the same command again to begin: no trial had begun" in out.getvalue()


def test_where_nothing_was_confirmed_no_table_of_picks_is_shown(mlruns: Path) -> None:
    result = StudyFolder(mlruns, "sunday").read_result()
    assert result is not None
    for scores, shown in (({}, False), (result["picks"][0]["scores"], True)):
        out = io.StringIO()
        picks = [{**pick, "scores": scores} for pick in result["picks"]]
        tables(Console(file=out, width=200), {**result, "picks": picks})
        assert ("The picks minus the baseline" in out.getvalue()) is shown


def test_ui_takes_the_name_either_way() -> None:
    said = CliRunner().invoke(ui.app, ["--help"]).stdout
    assert "[NAME]" in said and "--study" in said
