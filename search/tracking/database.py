"""The database of a results folder's own MLflow."""

from __future__ import annotations

import fcntl

from search.storage.mlflow_location import Settings


def create(settings: Settings) -> None:
    """Make MLflow's database under another name, then rename: killed among its migrations, none is there.

    One process at a time does it, so studies that start at once in one folder don't meet half-made tables.
    """
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    part = settings.folder / "mlflow.db.part"
    with (settings.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if settings.database.exists():
            return
        for left in settings.folder.glob("mlflow.db.part*"):
            left.unlink()
        engine = create_sqlalchemy_engine(f"sqlite:///{part}")
        try:
            _initialize_tables(engine)
        finally:
            engine.dispose()
        part.rename(settings.database)
