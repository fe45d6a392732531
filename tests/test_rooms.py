"""The rooms of search: what import-linter can't say. No room reads another's private names, and none loads much."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = sorted(file.parent.name for file in (ROOT / "search").glob("*/__init__.py"))
COMMANDS = {
    "compare",
    "delete",
    "doctor",
    "export",
    "figures",
    "grid",
    "models",
    "rename",
    "report",
    "run",
    "show",
    "studies",
    "ui",
    "vote",
}
HEAVY = {"torch", "optuna", "mlflow", "pandas", "scipy", "diffusers", "transformers", "plotly", "matplotlib", "ray"}


def imports(source: str) -> Iterator[tuple[str, str]]:
    """(module, name) of each `from module import name`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from ((node.module, each.name) for each in node.names)


def foreign_private(package: str, room: str, source: str) -> list[str]:
    """The private names that a file of a room takes from elsewhere in the packages."""
    return [
        f"{module}.{name}"
        for module, name in imports(source)
        if module.split(".")[0] in {"search", "freeu", "metrics", "configs"}
        and module.split(".")[:2] != [package, room]
        and any(part.startswith("_") and not part.startswith("__") for part in (*module.split("."), name))
    ]


def test_at_the_top_stand_the_commands_alone() -> None:
    files = {file.stem for file in (ROOT / "search").glob("*.py")}
    assert files == COMMANDS | {"python", "session", "__init__", "__main__"}


def test_nobody_takes_another_rooms_private_names() -> None:
    found = []
    for package in ("search", "freeu", "metrics", "configs"):
        for file in (ROOT / package).rglob("*.py"):
            room = file.relative_to(ROOT / package).parts[0]
            found += [f"{file.name}: {each}" for each in foreign_private(package, room, file.read_text("utf-8"))]
    assert found == []


def handed_out(room: str) -> set[str]:
    """The names that a room's __init__ hands out."""
    for node in ast.parse((ROOT / "search" / room / "__init__.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def around(room: str, source: str) -> list[str]:
    """What a file of another room takes from a room's files though the room hands it out."""
    names = handed_out(room)
    return [
        f"{module}.{name}" for module, name in imports(source) if module.startswith(f"search.{room}.") and name in names
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_hands_out_is_there_and_is_taken_there(room: str) -> None:
    found = import_module(f"search.{room}")
    assert all(getattr(found, name) is not None for name in handed_out(room))
    files = [file for file in (ROOT / "search").rglob("*.py") if file.parent.name != room]
    assert [f"{file.name}: {each}" for file in files for each in around(room, file.read_text("utf-8"))] == []


def test_who_goes_around_a_room_would_be_seen() -> None:
    assert "StudyFolder" in handed_out("storage")
    assert around("storage", "from search.storage.study_folder import StudyFolder") == [
        "search.storage.study_folder.StudyFolder"
    ]
    assert around("storage", "from search.storage import StudyFolder") == []


def test_a_private_name_would_be_seen() -> None:
    source = "from search.storage.files import _take, replacing\nfrom search.study.plan import _low\n"
    assert foreign_private("search", "study", source) == ["search.storage.files._take"]


def test_every_room_says_what_lives_there() -> None:
    for room in ROOMS:
        said = ast.get_docstring(ast.parse((ROOT / "search" / room / "__init__.py").read_text("utf-8")))
        assert said is not None and len(said) > 40, room


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_nothing_heavy(room: str) -> None:
    code = f"import sys, search.{room}; print(*sorted(set({sorted(HEAVY)!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_tests_mirror_the_rooms() -> None:
    folders = {file.parent.name for file in (ROOT / "tests" / "search").glob("*/test_*.py")}
    assert folders == set(ROOMS) - {"search"}
