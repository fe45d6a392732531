"""How every command begins: nothing empty is taken, and any output can be written to any terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs import UserError
from configs.cli import check_arguments
from tests.search import made

ROOT = Path(__file__).parents[2]


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, cwd=ROOT, env={**os.environ, **environment}
    )


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cli")
    made.study(place, "sunday", side=8, model="Modèle ↑猫")
    return place


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "cp1252", "C"],
)
@pytest.mark.parametrize("doing", ["studies", "show sunday", "export --study sunday", "run --dry-run", "run --help"])
def test_what_a_terminal_cant_show_is_replaced(doing: str, environment: dict[str, str], mlruns: Path) -> None:
    done = command(*f"search.{doing}".split(), "--mlruns", str(mlruns), **environment)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert b"Traceback" not in done.stderr
    if doing == "studies" and "PYTHONIOENCODING" in environment:
        shown = b"Mod?le ??" if environment["PYTHONIOENCODING"] == "ascii" else b"Mod\xe8le ??"
        assert shown in done.stdout


def test_an_error_is_a_line_in_any_encoding() -> None:
    done = command("search.show", "猫↑", "--mlruns", "none", PYTHONIOENCODING="ascii")
    assert done.returncode == 2 and done.stderr.startswith(b"error: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--study", ""], "--study is empty"),
        (["--study="], "--study is empty"),
        (["--prompts", " \t"], "--prompts is empty"),
        (["a", "", "--json"], "an argument is empty"),
        ([""], "an argument is empty"),
        (["--lora", "a", "--lora", ""], "--lora is empty"),
    ],
)
def test_an_empty_argument_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_arguments(arguments)


def test_what_is_not_empty_is_taken() -> None:
    check_arguments([])
    check_arguments(["sunday", "--study", "a", "--json", "--tracking-uri", "sqlite:///a.db?x=", "--subject", "a = b"])


@pytest.mark.parametrize(
    "doing",
    [
        "search.run --study",
        "search.run --mlruns",
        "search.run --config",
        "search.studies --mlruns",
        "search.show",
        "search.compare sunday",
        "search.report --study",
        "search.ui --study",
        "search.export --from",
        "search.export --study sunday --pick",
        "search.figures --out",
        "metrics.score . --base",
        "metrics.score . --device",
        "search show",
    ],
)
def test_every_command_refuses_an_empty_text_with_a_line(doing: str, mlruns: Path) -> None:
    done = command(*doing.split(), "")
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1 and b" is empty" in done.stderr
    assert not done.stdout
