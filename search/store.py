"""Where MLflow keeps a results folder's runs, and whether that folder is ours. Doesn't import mlflow.

The database is SQLite in the folder itself, always named by an absolute URI: MLflow's own default depends on
the working directory and on what lies there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs import UserError

EXPERIMENT = "FreeU"


@dataclass(frozen=True)
class Settings:
    """Where MLflow keeps a results folder's runs, and the environment of every process that touches them."""

    folder: Path
    uri: str
    artifacts: Path
    environment: Mapping[str, str]

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"


def mlflow_settings(mlruns: Path) -> Settings:
    """The settings for a results folder, which need not exist yet. Paths are made absolute."""
    folder = Path(mlruns).expanduser().absolute()
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing leaves the machine
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 0.5 GB instead of 2.3 GB for the server
    }
    return Settings(folder, f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", quiet)


def check_folder(mlruns: Path) -> Settings:
    """Refuse, without changing anything, a folder that something else wrote. Raises UserError."""
    settings = mlflow_settings(mlruns)
    folder, database = settings.folder, settings.database
    elsewhere = "give another folder with --mlruns"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--mlruns {folder} is a file, not a folder; {elsewhere}")
    old = next(iter(sorted(folder.glob("*/meta.yaml"))), None)
    if old is not None:
        raise UserError(f"{folder} holds an old MLflow file store ({old.relative_to(folder)}); {elsewhere}")
    if not database.exists() or database.stat().st_size == 0:
        return settings
    try:
        connection = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True)
        try:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UserError(f"{database} can't be read as a database ({error}); move it away, or {elsewhere}") from None
    if tables and not {"experiments", "runs", "alembic_version"} <= tables:
        raise UserError(f"{database} is a database, but not MLflow's; {elsewhere}")
    return settings


def experiment_page(settings: Settings) -> str:
    """The path of the studies' page under the UI's address: "/" where there is no study yet."""
    try:
        connection = sqlite3.connect(f"{settings.database.as_uri()}?mode=rw", uri=True)
        try:
            found = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return "/"
    return "/" if found is None else f"/#/experiments/{found[0]}/runs"
