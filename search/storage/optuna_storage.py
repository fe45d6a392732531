"""Where Optuna keeps a study: SQLite in its folder, or a PostgreSQL server that several machines share.

SQLite belongs to one coordinator, which holds the folder's lock. On a server each coordinator keeps the trials in its
hands alive by a heartbeat (Optuna's own table, the server's clock); one whose heart stands still for LEASE seconds has
lost them. A server that goes away is waited for.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from configs import UserError
from search.storage.addresses import hidden, redacted
from search.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import Connection, Engine

Direction = Literal["minimize", "maximize"]
BEAT = 10  # seconds
LEASE = 60
SECONDS_TO_ANSWER = 10
SECONDS_BUSY = 60  # that SQLite waits for another process to let go of the file
OPENING = "opening"  # a purpose of the lock
DRIVER = "postgresql+psycopg"
HOST = re.compile(r"[\w.:%-]*")  # several, and those of IPv6, among them


class Storage:
    """A study's storage; making one connects to nothing."""

    def __init__(self, folder: StudyFolder, url: str | None = None, lease: float = LEASE) -> None:
        """url: of the server, as postgresql://user:password@host/database; None is SQLite in the folder."""
        self.folder, self.lease = folder, lease
        self.url = None if url is None else server(url)
        self._locked: set[str] = set()  # what for, by this process
        self._beating: set[int] = set()
        self._heart: threading.Thread | None = None

    @property
    def shared(self) -> bool:
        """Whether others may work on the study too."""
        return self.url is not None

    def open(self, directions: Mapping[str, str]) -> optuna.Study:
        """The study, made where there is none."""
        import optuna

        wanted: list[Direction] = ["maximize" if direction == "up" else "minimize" for direction in directions.values()]
        if self.url is None:
            return _in_folder(self.folder, wanted)
        from search.storage.reconnecting import ReconnectingStorage

        self._engine.connect().close()  # a server that isn't there at the beginning is not waited for
        with self.lock(OPENING):
            self._storage = ReconnectingStorage(
                self.url,
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=BEAT,
                grace_period=max(1, round(self.lease)),
            )
            return optuna.create_study(
                storage=self._storage, study_name=self.folder.name, directions=wanted, load_if_exists=True
            )

    @cached_property
    def _engine(self) -> Engine:
        """For what Optuna's storage doesn't do; it has no tables of its own."""
        from sqlalchemy import create_engine

        assert self.url is not None
        return create_engine(self.url, pool_pre_ping=True, connect_args={"connect_timeout": SECONDS_TO_ANSWER})

    @contextmanager
    def lock(self, purpose: str = "trials") -> Iterator[None]:
        """Nobody else is in such a block for this purpose meanwhile. The server lets go where this process ends."""
        if self.url is None or purpose in self._locked:  # the folder is locked for the whole run
            yield
            return
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        from search.storage.reconnecting import waiting

        study = "" if purpose == OPENING else self.folder.name  # Optuna's tables are those of all studies
        digest = hashlib.sha256(f"{study}:{purpose}".encode()).digest()
        key = {"key": int.from_bytes(digest[:8], "big", signed=True)}

        def taken() -> Connection:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
            return connection

        connection = waiting(taken)
        self._locked.add(purpose)
        try:
            yield
        finally:
            self._locked.remove(purpose)
            with suppress(DBAPIError):  # a server that went away has let go already
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
                connection.close()

    def hold(self, trial_id: int) -> None:
        """Take the lease of a trial, and renew it until `release`."""
        if self.url is None:
            return
        self._storage.record_heartbeat(trial_id)
        self._beating.add(trial_id)
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, daemon=True)
            self._heart.start()

    def release(self, trial_id: int) -> None:
        """The trial has ended."""
        self._beating.discard(trial_id)

    def lost(self, study: optuna.Study) -> list[int]:
        """The numbers of the running trials whose process ended; all, where nobody shares the study."""
        from datetime import datetime, timedelta

        from optuna.trial import TrialState

        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if self.url is None:
            return [trial.number for trial in running]
        stale = set(self._storage._get_stale_trial_ids(study._study_id))
        # A process that was killed between taking a trial and its first beat left none; clocks may differ a little.
        long_ago = datetime.now() - timedelta(seconds=10 * self.lease)
        unborn = {trial._trial_id for trial in running if trial.datetime_start and trial.datetime_start < long_ago}
        if unborn:
            unborn -= self._ever_beaten()
        return [trial.number for trial in running if trial._trial_id in (stale | unborn) - self._beating]

    def _ever_beaten(self) -> set[int]:
        from optuna.storages._rdb.models import TrialHeartbeatModel
        from sqlalchemy import select

        from search.storage.reconnecting import waiting

        def read() -> set[int]:
            with self._engine.connect() as connection:
                return {row[0] for row in connection.execute(select(TrialHeartbeatModel.trial_id))}

        return set(waiting(read))

    def _beat(self) -> None:
        while True:
            time.sleep(min(BEAT, self.lease / 3))
            for trial_id in tuple(self._beating):
                self._storage.record_heartbeat(trial_id)


def server(url: str) -> str:
    """The address as SQLAlchemy takes it. Raises UserError where it is no PostgreSQL's, or psycopg is not there."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in ("postgresql", "postgres", DRIVER):
        raise UserError(
            f"--storage {hidden(url)}: expected postgresql://user:password@host/database; without it the study is "
            "kept in its folder, in SQLite, which one machine alone can use"
        )
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise UserError(f'--storage needs another package: pip install "freeu-search[postgresql]" ({error})') from error
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(f"{DRIVER}://{rest}")
        sound = HOST.fullmatch(found.host or "") and 0 < (found.port or 1) < 65536
        if not sound or (found.database is None and not found.query):
            raise ValueError(url)
    except (ArgumentError, ValueError):
        raise UserError(
            f"--storage {hidden(url)}: expected postgresql://user:password@host/database; in a password @ is written "
            "%40, : %3A, / %2F, ? %3F and % %25"
        ) from None
    return f"{DRIVER}://{rest}"


def _in_folder(folder: StudyFolder, directions: list[Direction]) -> optuna.Study:
    """A new one is made under another name: killed meanwhile, none is there."""
    import optuna
    from sqlalchemy import event

    from search.storage.single_writer import SingleWriterStorage

    if not folder.database.exists():
        folder.root.mkdir(parents=True, exist_ok=True)
        part = folder.database.with_name("optuna.db.part")
        for left in folder.root.glob("optuna.db.part*"):
            left.unlink()
        storage = optuna.storages.RDBStorage(f"sqlite:///{part}")
        optuna.create_study(storage=storage, study_name=folder.name, directions=directions)
        storage.remove_session()
        storage.engine.dispose()
        part.rename(folder.database)
    storage = SingleWriterStorage(folder.optuna_url, engine_kwargs={"connect_args": {"timeout": SECONDS_BUSY}})
    event.listen(storage.engine, "connect", _ahead)
    storage.engine.dispose()  # what is open already was opened otherwise
    return optuna.load_study(study_name=folder.name, storage=storage)


def _ahead(connection: Any, record: Any) -> None:
    """A write-ahead log: some 14 commits a trial wait for the disk no more.

    A killed process loses nothing. A power cut may lose the last trials, never the database's order; see `Study`.
    """
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",):
        connection.execute("PRAGMA synchronous = NORMAL")


@contextmanager
def quiet(storage: Storage) -> Iterator[None]:
    """Optuna without its log lines and warnings, and its database's errors in one sentence."""
    import optuna
    import sqlalchemy.exc

    folder = storage.folder
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    broken = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    except (*broken, KeyError, RuntimeError) as error:
        if isinstance(error, KeyError | RuntimeError) and not _from_storage(error):
            raise
        cause = error.__cause__ or error
        reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
        if storage.url is not None:
            said = f"the server of --storage {hidden(storage.url)} can't be used ({redacted(reason, storage.url)})"
            raise UserError(said) from error
        raise UserError(
            f"{folder.database} can't be used ({reason}): free the disk if it is full; if the file is damaged, move "
            f"{folder.root} away, or give another name with --study"
        ) from error


def _from_storage(error: BaseException) -> bool:
    """Whether a general error was raised by Optuna's storage: a table that is not there, another schema."""
    trace, last = error.__traceback__, ""
    while trace is not None:
        last, trace = trace.tb_frame.f_globals.get("__name__", ""), trace.tb_next
    return last.startswith("optuna.storages") or (isinstance(error, KeyError) and last.startswith("optuna.study"))
