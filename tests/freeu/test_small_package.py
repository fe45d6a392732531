"""The small distribution, gathered as its build does it: one top-level name, and what it keeps once installed."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def gathered() -> ModuleType:
    """The build's own file, which is no package's."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("gathered", ROOT / "packages" / "freeu" / "gathered.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_keeps_what_freeu_keeps_without_the_rest(gathered: ModuleType, tmp_path: Path) -> None:
    gathered.write(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["freeu"]
    script = ROOT / "tests" / "freeu_package.py"
    command = [sys.executable, "-P", str(script)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("ok")] == [
        "ok check_one_name",
        "ok check_the_concatenation",
        "ok check_presets",
        "ok check_against_diffusers",
    ]
    assert lines[-1].endswith(str(tmp_path / "freeu"))


def test_every_import_of_configs_becomes_its_own(gathered: ModuleType) -> None:
    told = "from configs import path\n    from configs.image_files import SUFFIXES\nimport configs\nimport configs_of\n"
    assert gathered.own_names(told) == (
        "from freeu._configs import path\n    from freeu._configs.image_files import SUFFIXES\n"
        "from freeu import _configs as configs\nimport configs_of\n"
    )
    for name, text in gathered.sources().items():
        assert not [
            line for line in text.splitlines() if line.lstrip().startswith(("from configs", "import configs"))
        ], name


def test_both_distributions_have_one_version_and_licence() -> None:
    whole, small = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        for folder in (ROOT, ROOT / "packages" / "freeu")
    )
    assert (whole["version"], whole["license"]) == (small["version"], small["license"])
