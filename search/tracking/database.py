"""The database of a results folder's own MLflow."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from search.storage.mlflow_location import Settings


def create(settings: Settings) -> None:
    """Make MLflow's database under another name, then rename: killed among its migrations, none is there.

    One process at a time does it, so studies that start at once in one folder don't meet half-made tables.
    """
    part = settings.folder / "mlflow.db.part"
    with (settings.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if settings.database.exists():
            return
        for left in settings.folder.glob("mlflow.db.part*"):
            left.unlink()
        migrate(part)
        with part.open("rb") as made:
            os.fsync(made.fileno())
        part.rename(settings.database)


def migrate(file: Path) -> None:
    """All of MLflow's migrations, on an empty file. SQLite does not wait for the disk after each of their hundreds of
    statements, which takes most of the time: where the machine stops meanwhile, the file is made anew."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine
    from sqlalchemy import event

    engine = create_sqlalchemy_engine(f"sqlite:///{file}")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    try:
        _initialize_tables(engine)
    finally:
        engine.dispose()
