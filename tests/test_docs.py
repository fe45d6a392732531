"""The documents say what is so: commands, flags, links, versions, words."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "mlruns" / "README.md", ROOT / "tests" / "KINDS.md"]
)
COMMANDS = (
    "search.run",
    "search.models",
    "search.ui",
    "search.vote",
    "search.export",
    "search.report",
    "search.studies",
    "search.show",
    "search.compare",
    "search.figures",
    "search.grid",
    "search.rename",
    "search.delete",
    "search.doctor",
    "metrics.score",
)
GUIDES = [
    page for page in PAGES if page.name not in ("CHANGELOG.md", "cli.md", "log.md") and "decisions" not in page.parts
]
README = (ROOT / "README.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEST_COMMAND = "pip install uv && uv run --extra dev python -m tests.check"
RUN_COMMAND = "pip install uv && uv run python -m search.run"


def flags(command: str) -> set[str]:
    """The flags that `python -m COMMAND` takes, without --help."""
    app = importlib.import_module(command).app
    parameters = typer.main.get_command(app).params
    options = [option for each in parameters for option in (*each.opts, *each.secondary_opts)]
    return {option for option in options if option.startswith("--")} - {"--help"}


def test_the_readme_holds_the_two_commands_and_ci_runs_the_second() -> None:
    lines = README.splitlines()
    assert RUN_COMMAND in lines
    assert TEST_COMMAND in lines
    assert TEST_COMMAND in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_each_flag_s_words_whole(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes [words] for a style, and shows them not."""
    monkeypatch.setenv("COLUMNS", "300")
    app = importlib.import_module(command).app
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.replace("│", " ").split())
    for option in typer.main.get_command(app).params:
        assert " ".join((getattr(option, "help", "") or "").split()) in shown


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_flags_are_listed_in_the_reference_alone(page: Path) -> None:
    """docs/cli.md is generated; a table beside it would age."""
    assert not re.findall(r"^\| `--.*", page.read_text(), re.M)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_written_in_one_form(page: Path) -> None:
    """As `uv run python -m …`, which needs no environment that is active. A name alone, in backticks, is no command."""
    for line in page.read_text().splitlines():
        for before, module in re.findall(r"(.{0,40})\bpython -m ((?:search|metrics|tests)\.\w+)(?!\w*`)", line):
            assert re.search(r"uv run (--extra dev )?$", before), f"{page.name}: {module}: {line}"


def test_the_files_that_the_architecture_names_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:search|freeu|metrics|configs|docs|tests)/[\w/.-]*)`", page))
    assert len(named) > 25
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_architecture_s_picture_has_every_room() -> None:
    picture = (ROOT / "docs" / "images" / "architecture.svg").read_text()
    rooms = {folder.parent.name for folder in (ROOT / "search").glob("*/__init__.py")}
    assert {room for room in rooms if f">{room}/<" not in picture} == set()


def test_every_guide_is_in_the_list_of_guides() -> None:
    listed = (ROOT / "docs" / "README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"({name})" not in listed} == set()


def test_every_command_line_in_the_documents_is_accepted() -> None:
    """Module and flags of each `python -m search.X …` or `metrics.X` that stands in a code block."""
    known = {command: flags(command) | {"--help"} for command in COMMANDS}
    seen = 0
    for page in PAGES:
        for module, rest in re.findall(r"python -m ((?:search|metrics)\.\w+)([^\n`#]*)", page.read_text()):
            assert module in known, f"{page.name}: {module}"
            assert set(re.findall(r"--[a-z][a-z0-9-]*", rest)) <= known[module], f"{page.name}: {module}{rest}"
            seen += 1
    assert seen > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_help_says_what_each_flag_does() -> None:
    for command in COMMANDS:
        app = importlib.import_module(command).app
        for parameter in typer.main.get_command(app).params:
            assert getattr(parameter, "help", None), f"{command} {parameter.opts}"


def test_the_packages_stand_in_pyproject_and_on_the_disk() -> None:
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == ["search", "freeu", "metrics", "configs"]
    for package in packages:
        assert (ROOT / package / "__init__.py").is_file()


def test_dependencies_are_bounded_above() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PYPROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)]:
        assert re.search(r">=[\d.]+,<[\d.]+$", requirement), requirement


def test_every_yaml_reads() -> None:
    for file in [*ROOT.glob("configs/**/*.yaml"), ROOT / ".pre-commit-config.yaml"]:
        assert yaml.safe_load(file.read_text()) is not None, file


def test_help_needs_none_of_the_heavy_packages() -> None:
    """What keeps `--help` under half a second, told by cause, since a time is another on each machine."""
    loading = "\n".join(f"import {command}" for command in COMMANDS)
    code = f"import sys\n{loading}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {
        "torch",
        "mlflow",
        "optuna",
        "diffusers",
        "transformers",
        "pandas",
        "numpy",
        "scipy",
        "plotly",
        "matplotlib",
        "pyarrow",
    }
    assert heavy & set(done.stdout.split()) == set()


def test_the_reference_is_what_the_commands_say() -> None:
    """Made anew by the command that stands here."""
    command = [sys.executable, "-m", "typer", "search.__main__", "utils", "docs", "--name", "freeu-search"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert made.strip() == (ROOT / "docs" / "cli.md").read_text().strip(), " ".join([*command[1:], "> docs/cli.md"])
