"""`search.studies`, `search.show` and what the shell completes: names found, states told, nothing obeyed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs import UserError
from configs.cli import fail, python, visible
from freeu import IDENTITY
from search import show, studies
from search.storage import StudyFolder, TrialRecord
from search.storage.trial_record import INTERRUPTED
from search.terminal.study_status import standing
from tests.search import made
from tests.search.terminal.test_study_status import gone_on

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, an unfinished one, one with a torn record and one that writes to the terminal."""
    place = tmp_path_factory.mktemp("show")
    made.study(place, "sunday", side=8)
    made.study(place, "half", side=8).result.unlink()
    made.study(place, "torn", side=8).record_file(2).write_text("{")
    made.study(place, "evil", side=8, origin="gp\x1b[2J[red]", model="m\x1b]0;owned\x07", verdict="Yes\x1b[2J: no.")
    return place


def told(module: object, mlruns: Path, *arguments: str) -> str:
    done = CliRunner().invoke(module.app, [*arguments, "--mlruns", str(mlruns)])  # type: ignore[attr-defined]
    assert done.exit_code == 0, done.output
    return done.stdout


def test_studies_and_how_they_stand(mlruns: Path) -> None:
    found = {each["study"]: each for each in json.loads(told(studies, mlruns, "--json"))}
    assert list(found) == ["evil", "half", "sunday", "torn"]
    sunday = found["sunday"]
    assert (sunday["state"], sunday["complete"], sunday["failed"], sunday["trials"]) == ("finished", 11, 1, 12)
    assert sunday["verdict"].startswith("FreeU trades here: knee")
    assert (found["half"]["state"], found["half"]["verdict"]) == ("unfinished", "")
    assert found["torn"]["state"] == "damaged"
    assert "0002.json can't be read" in found["torn"]["verdict"]
    said = told(studies, mlruns)
    assert "FreeU trades here" in said and "torn is damaged: " in said
    assert "\x1b" not in said and r"m\x1b]0;owned\x07" in said


def test_a_study_that_runs_is_said_to(mlruns: Path) -> None:
    folder = StudyFolder(mlruns, "half")
    with folder.locked():
        assert standing(folder).state == "running"
    assert standing(folder).state == "unfinished"


def test_an_interrupted_trial_is_no_failure(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    folder.write_trial(TrialRecord(12, IDENTITY, "gp", "FAIL", reason=INTERRUPTED))
    assert standing(folder).failed == 1
    said = told(show, tmp_path, folder.name)
    assert "trial 12 interrupted" in said and "failed: interrupted" not in said
    assert "failed: out of memory" in said


def test_a_finished_study_that_went_on_is_unfinished(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    whole = folder.read_trials()[1]
    folder.write_trial(replace(whole, number=12, factors=made.factors(12)))
    assert standing(folder).state == "unfinished"


def test_a_result_that_is_not_of_all_trials_is_said_to(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8, trials=3)
    assert "its result" not in told(show, tmp_path, folder.name)
    gone_on(folder)
    said = told(show, tmp_path, folder.name)
    assert said.startswith("sunday: unfinished, 5 of 3 trials of shapes\n")
    assert said.count("its result is from the first 3 trials; 5 are complete by now") == 1
    assert said.index("its result") < said.index("The Pareto front")


def test_no_study_is_no_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(studies.app, ["--mlruns", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "holds no study" in done.stderr
    assert told(studies, tmp_path, "--json") == "[]\n"


def test_show_a_study(mlruns: Path) -> None:
    said = told(show, mlruns, "sunday")
    assert "sunday: finished, 11 of 12 trials of shapes" in said
    assert "trial 3 failed: out of memory" in said
    assert re.search(r"best-clip = knee \(trial 1\) +\+0\.1", said)
    assert "FreeU trades here: knee (trial 1)" in said
    assert f"report      {python()} -m search.report --study sunday --mlruns {mlruns}" in said
    said = told(show, mlruns, "half")
    assert "best so far in fid: 4.5, trial 11" in said
    said = told(show, mlruns, "evil")
    assert "\x1b" not in said and r"gp\x1b[2J[red]" in said and r"Yes\x1b[2J: no." in said


def test_the_rival_is_shown(tmp_path: Path) -> None:
    made.with_rival(made.study(tmp_path, side=8))
    said = told(show, tmp_path, "sunday")
    row = r"best-clip = knee \(trial 1\) +guidance 4 \(trial 5\) +\+0\.1 \[\+0\.05, \+0\.15\]\* +-0\.5 +not confirmed"
    assert re.search(row, said)


def test_show_for_machines(mlruns: Path) -> None:
    found = json.loads(told(show, mlruns, "sunday", "--json"))
    assert found["result"]["picks"][3]["pick"] == "knee"
    assert len(found["records"]) == 12
    assert found["settings"]["fingerprint"]["prompts"] == 8
    assert json.loads(told(show, mlruns, "half", "--json"))["result"] is None


def test_what_cannot_be_shown(mlruns: Path) -> None:
    for name, said in (("sundy", "did you mean 'sunday'"), ("torn", "study 'torn': .*0002.json")):
        with pytest.raises(UserError, match=said):
            CliRunner().invoke(show.app, [name, "--mlruns", str(mlruns)], catch_exceptions=False)
    command = [sys.executable, "-m", "search.show", "sundy", "--mlruns", str(mlruns)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("show s", ["sunday"]),
        ("compare sunday ", ["evil", "half", "sunday", "torn"]),
        ("report --study ha", ["half"]),
        ("export --study tor", ["torn"]),
    ],
)
def test_the_shell_completes_names(mlruns: Path, typed: str, offered: list[str]) -> None:
    command, _, rest = typed.partition(" ")
    line = f"freeu-search {command} --mlruns {mlruns} {rest}"
    code = "import sys; sys.argv = ['freeu-search']; from search.__main__ import command; command()"
    words = len(line.split(" ")) - 1
    asked = {"_FREEU_SEARCH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(words)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=os.environ | asked
    )
    assert done.stdout.split() == offered


def test_what_steers_a_terminal_is_seen() -> None:
    assert visible("a\x1b[2Jb\nc\u202ed\ud83de\x9b") == r"a\x1b[2Jb\nc\u202ed\ud83de\x9b"
    assert visible("é 猫 قطة 👩\u200d🚀") == "é 猫 قطة 👩\u200d🚀"  # joiners belong to words and emoji


def test_an_error_quotes_names_without_obeying_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        fail("unknown preset 'a\x1b[2Jb\ud83d': known:\nc")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: unknown preset 'a\\x1b[2Jb\\ud83d': known:\nc\n"
