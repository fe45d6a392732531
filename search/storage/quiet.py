"""Optuna without its log lines and warnings, and with its database's errors in one sentence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from configs import UserError
from search.storage.addresses import hidden, redacted

if TYPE_CHECKING:
    from search.storage.optuna_storage import Storage


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
