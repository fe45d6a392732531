"""The ranges of pyproject.toml begin where the tests passed: at lowest.txt, which `.ci/lowest` wrote."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = (each for name, each in PROJECT["optional-dependencies"].items() if name != "dev")
DIRECT = [Requirement(line) for each in (PROJECT["dependencies"], *EXTRAS) for line in each]


@pytest.fixture(scope="module")
def passed() -> dict[str, Version]:
    lines = (HERE / "lowest.txt").read_text("utf-8").splitlines()
    pinned = (line.partition("==") for line in lines if not line.startswith("#"))
    return {name: Version(version) for name, _, version in pinned}


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_a_range_begins_where_the_tests_passed(requirement: Requirement, passed: dict[str, Version]) -> None:
    (lowest,) = [each.version for each in requirement.specifier if each.operator == ">="]
    told = f"{requirement} does not begin at what .ci/lowest passed with: run it, and commit its tests/lowest.txt"
    assert Version(lowest) == passed[canonicalize_name(requirement.name)], told
