"""Adding a setting is adding one field: in a copy of the project with one more field everything else is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

ROOT = Path(__file__).parents[3]
BEFORE = "    model: Annotated["
FIELD = '    glow: Annotated[Count | None, Setting(SEARCH, "N", "How much to glow", "none", fingerprint=True)] = None\n'
SCRIPT = """
import json, sys
from pathlib import Path
import typer
from typer.testing import CliRunner
from configs import UserError
from search import run
from search.settings.reading import load
from search.settings.job import prepare
from search.settings.kept import kept_settings

def refused(**flags):
    try:
        load(None, flags)
    except UserError as error:
        return str(error)

here = Path(sys.argv[1])
(here / "s.yaml").write_text("glow: 3\\n")
job = prepare(load(here / "s.yaml", {"mlruns": here / "m"}))
option = next(each for each in typer.main.get_command(run.app).params if each.name == "glow")
print(json.dumps({
    "help": CliRunner().invoke(run.app, ["--help"], env={"COLUMNS": "200"}).output,
    "flag": [*option.opts, option.help, option.rich_help_panel],
    "yaml": job.config.glow,
    "flags win": load(here / "s.yaml", {"glow": 5}).glow,
    "default": load(None, {}).glow,
    "refused": refused(glow=0),
    "fingerprint": job.fingerprint["glow"],
    "kept": kept_settings(job)["glow"],
}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of search with one more setting, and links to all else."""
    folder = tmp_path_factory.mktemp("project")
    copytree(ROOT / "search", folder / "search", ignore=lambda *_: ["__pycache__"])
    for name in ("freeu", "metrics", "configs"):
        (folder / name).symlink_to(ROOT / name)
    file = folder / "search" / "settings" / "config.py"
    text = file.read_text("utf-8")
    assert text.count(BEFORE) == 1
    file.write_text(text.replace(BEFORE, FIELD + BEFORE), "utf-8")
    return folder


def printed(project: Path, *command: str) -> str:
    return subprocess.run([sys.executable, *command], cwd=project, capture_output=True, text=True, check=True).stdout


def test_a_field_is_a_flag_a_key_help_fingerprint_and_what_is_kept(project: Path, tmp_path: Path) -> None:
    found = json.loads(printed(project, "-c", SCRIPT, str(tmp_path)))
    assert found.pop("refused").startswith("--glow is 0: ")
    assert "How much to glow (default: none)." in found.pop("help")
    assert found == {
        "flag": ["--glow", "How much to glow (default: none).", "The search"],
        "yaml": 3,
        "flags win": 5,
        "default": None,
        "fingerprint": 3,
        "kept": 3,
    }


def test_a_field_is_a_row_of_the_reference(project: Path) -> None:
    made = printed(project, "-m", "typer", "search.__main__", "utils", "docs", "--name", "freeu-search")
    assert "* `--glow N`: How much to glow (default: none)." in made
