"""Where MLflow keeps a study's runs: SQLite in the results folder, or a server. Doesn't import mlflow.

The database is SQLite in the folder itself, always named by an absolute URI: MLflow's own default depends on
the working directory and on what lies there.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from configs import UserError
from search.storage.addresses import hidden

UNFIT = re.compile(r"\?|%[0-9A-Fa-f]{2}")

EXPERIMENT = "FreeU"
MARK = "freeu.experiment"
"""Tag of the experiment, by which it is known where a person gave it another name."""
OURS = f"(name = ? OR experiment_id IN (SELECT experiment_id FROM experiment_tags WHERE key = '{MARK}'))"
FIRST = "ORDER BY name = ? DESC, experiment_id"
LOCAL = "local"  # --tracking-uri local: the results folder, whatever the environment says
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
PATHS = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
SECONDS_TO_ANSWER = "15"
TRAINING = "workflowType=machine_learning"  # else the UI's menus are those for chat agents
VIEW = "viewStateShareKey"
"""Names in an address the view that the list of runs opens with; see search/tracking/views.py."""
VIEW_STATE = "mlflow.sharedViewState."
"""Before a view's name: the experiment's tag that holds it."""
ALL_STUDIES = ""


@dataclass(frozen=True)
class Settings:
    """Where MLflow keeps a study's runs, and the environment of every process that touches them."""

    folder: Path
    uri: str
    environment: Mapping[str, str]

    @property
    def database(self) -> Path:
        """The results folder's own."""
        return self.folder / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """What a database has no room for; a server keeps that itself."""
        return self.folder / "artifacts"

    @property
    def own(self) -> bool:
        """Whether the runs are in the results folder's own database."""
        return self.uri == f"sqlite:///{self.database}"

    @property
    def remote(self) -> bool:
        """Whether a server has them."""
        return self.uri.startswith("http")

    @property
    def place(self) -> str:
        """For a person: without a password."""
        return str(self.database) if self.own else hidden(self.uri)


def mlflow_settings(mlruns: Path, uri: str | None = None) -> Settings:
    """The settings for a results folder, which need not exist yet. Paths are made absolute. Raises UserError.

    uri: of a server or another database; None is the folder's own.
    """
    folder = Path(mlruns).expanduser().absolute()
    if UNFIT.search(str(folder)):
        raise UserError(
            f"--mlruns {mlruns}: the path of a results folder can't contain '?', or '%' and two digits, since "
            "databases read them as something else: rename the folder, or give another"
        )
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing leaves the machine
        "DO_NOT_TRACK": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines for each trial
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 0.5 GB instead of 2.3 GB for the server
        # A request that got no answer may have been served all the same: blind repetition would log things twice.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", SECONDS_TO_ANSWER),
    }
    return Settings(folder, f"sqlite:///{folder / 'mlflow.db'}" if uri in (None, LOCAL) else _checked(uri), environment)


def _checked(uri: str | None) -> str:
    """A server's or a database's URI, with an absolute path. Raises UserError."""
    assert uri is not None
    expected = (
        f"--tracking-uri {hidden(uri)}: expected a server, as http://host:5000, a database, as sqlite:///file.db, or "
        f"'{LOCAL}' for the results folder"
    )
    try:
        found = urlsplit(uri.strip())
        port = found.port
    except ValueError:  # whose words may quote a password
        raise UserError(f"{expected} (its host or port is none)") from None
    if found.scheme in ("http", "https"):
        if not found.hostname or port == 0:
            raise UserError(f"{expected} (it names no host)")
        return uri.strip().rstrip("/")
    if found.scheme.partition("+")[0] not in DATABASES:
        raise UserError(f"{expected}; MLflow no longer keeps runs in plain files")
    if found.scheme.partition("+")[0] != "sqlite":
        return uri.strip()
    file = uri.strip().partition(":///")[2]
    if not file:
        raise UserError(f"{expected} (it names no file)")
    return f"{found.scheme}:///{Path(file).expanduser().absolute()}"


def check_folder(mlruns: Path, uri: str | None = None) -> Settings:
    """Refuse, without changing anything, a folder that something else wrote. Raises UserError."""
    settings = mlflow_settings(mlruns, uri)
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
        with closing(_connected(settings)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise UserError(f"{database} can't be read as a database ({error}); move it away, or {elsewhere}") from None
    if tables and not {"experiments", "runs", "alembic_version"} <= tables:
        raise UserError(f"{database} is a database, but not MLflow's; {elsewhere}")
    return settings


def _connected(settings: Settings) -> sqlite3.Connection:
    return sqlite3.connect(f"{settings.database.as_uri()}?mode=rw", uri=True, timeout=60)


def _asked(settings: Settings, query: str, *values: str) -> str | None:
    """The first value that the folder's own database gives; None where it has none, or is not there."""
    try:
        with closing(_connected(settings)) as connection:
            found = connection.execute(query, values).fetchone()
    except sqlite3.Error:
        return None
    return None if found is None else str(found[0])


def view_key(study: str) -> str:
    """The name of the view of a study's trials; of "", that of the list of studies."""
    return f"freeu-{study}" if study else "freeu"


def page_path(settings: Settings, study: str | None = None) -> str:
    """The path under the UI's address: of the list of a study's trials, of the only study's where none is named, or of
    the list of studies; "/" where there is none yet. Raises UserError where there is no such study."""
    experiment = _asked(settings, f"SELECT experiment_id FROM experiments WHERE {OURS} {FIRST}", EXPERIMENT, EXPERIMENT)
    studies = "FROM tags JOIN runs USING (run_uuid) WHERE key = 'freeu.study' AND lifecycle_stage = 'active'"
    if study is None:
        study = _asked(settings, f"SELECT min(value) {studies} HAVING count(DISTINCT value) = 1")
    run = None
    if study is not None:
        run = _asked(settings, f"SELECT run_uuid {studies} AND value = ? ORDER BY start_time", study)
        if run is None:
            raise UserError(
                f"{settings.place} has no run of study {study!r}, as where it was deleted there: the command that "
                "began the study logs it again"
            )
    if experiment is None:
        return "/"
    key = view_key(study or ALL_STUDIES)
    viewed = _asked(settings, "SELECT value FROM experiment_tags WHERE key = ?", VIEW_STATE + key) is not None
    page = "" if viewed or run is None else f"/{run}"  # a study that was logged before there were views
    return f"/#/experiments/{experiment}/runs{page}?{TRAINING}" + (f"&{VIEW}={key}" if viewed else "")


def holds(settings: Settings, study: str, stamp: str, numbers: Iterable[int]) -> bool:
    """Whether the folder's own database has a study's run with the result of this stamp, and each of these trials once;
    what is deleted there does not count. Told without loading MLflow."""
    tag = "SELECT run_uuid FROM tags WHERE key = ? AND value = ?"
    active = "lifecycle_stage = 'active'"
    run = f"SELECT run_uuid FROM runs WHERE {active} AND run_uuid IN ({tag}) AND run_uuid IN ({tag})"
    parent = _asked(settings, run, "freeu.study", study, "freeu.result", stamp)
    query = (
        "SELECT group_concat(value) FROM tags JOIN runs USING (run_uuid) "
        f"WHERE key = 'freeu.trial' AND {active} AND run_uuid IN ({tag})"
    )
    if parent is None:
        return False
    there = Counter((_asked(settings, query, "mlflow.parentRunId", parent) or "").split(","))
    return all(there[str(number)] == 1 for number in numbers)


def settle(settings: Settings) -> None:
    """Where the results folder was moved, tell its database: MLflow notes absolute paths. Raises UserError."""
    if not settings.own or not settings.database.exists():
        return
    before = _asked(settings, f"SELECT artifact_location FROM experiments WHERE {OURS} {FIRST}", EXPERIMENT, EXPERIMENT)
    now = settings.artifacts.as_uri()
    if before is None or before == now or not before.startswith("file://"):
        return
    try:
        with closing(_connected(settings)) as connection, connection:
            for table, column in PATHS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR {column} GLOB ?",
                    (now, len(before) + 1, before, _literal(before) + "/*"),
                )
    except sqlite3.Error as error:
        raise UserError(
            f"{settings.folder} was moved, and its database can't be updated ({error}): stop whatever else uses it"
        ) from None


def _literal(text: str) -> str:
    """A text as a GLOB pattern that it alone matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)
