"""Fixtures that several test files share: tiny pipelines in true formats, saved once a session; MLflow's tables, made
once, and databases that don't wait for the disk.

Properties are tried on the same examples each time, so that a change is judged by what it changed;
`pytest --hypothesis-profile=explore` draws others.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import tiny

os.environ.pop("COLUMNS", None)  # pytest-xdist gives its processes one, and commands print to that width

settings.register_profile("explore", settings())
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def hasty_databases() -> Iterator[None]:
    """SQLite in this process leaves writing to the system: a killed process loses nothing, and no test cuts the power.
    Waiting for the disk takes more time than all else that a study of fakes does."""
    from sqlalchemy import Engine, event

    def hasten(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hasten)
    yield
    event.remove(Engine, "connect", hasten)


@pytest.fixture(scope="session", autouse=True)
def tables_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The first database of MLflow is made by its migrations, as people's are; the others are copies of it."""
    from search.tracking import database

    migrate, made = database.migrate, tmp_path_factory.mktemp("tables") / "mlflow.db"

    def copied(file: Path) -> None:
        if not made.exists():
            part = made.with_suffix(".part")
            migrate(part)
            part.rename(made)
        shutil.copyfile(made, file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "migrate", copied)
        yield


@pytest.fixture(scope="session")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny StableDiffusionPipeline; not to be changed."""
    return tiny.stable_diffusion(tmp_path_factory.mktemp("pipelines") / "tiny-sd")


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny StableDiffusionXLPipeline with the weights' variant fp16 alone; not to be changed."""
    return tiny.sdxl(tmp_path_factory.mktemp("pipelines") / "tiny-sdxl")
