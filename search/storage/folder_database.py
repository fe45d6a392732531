"""A study of one machine alone: Optuna's database in its folder, in SQLite."""

from __future__ import annotations

from typing import Any

import optuna
from sqlalchemy import event

from search.storage.single_writer import SingleWriterStorage
from search.storage.study_folder import StudyFolder

SECONDS_BUSY = 60  # that SQLite waits for another process to let go of the file


def in_folder(folder: StudyFolder, directions: list[Any]) -> optuna.Study:
    """A new one is made under another name: killed meanwhile, none is there."""
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
