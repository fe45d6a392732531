"""Holding a study's folder: one process at a time, and the kernel lets go when it ends, however it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from configs import UserError

TRIES = 5
"""To hold a study."""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the study whose folder's lock is `file`. A folder in which nothing was begun is taken away again.

    Raises:
        UserError: another process holds it.
    """
    with _held(file) as stream:
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)
            if list(file.parent.iterdir()) == [file]:
                file.unlink()
                file.parent.rmdir()


@contextmanager
def _held(file: Path) -> Iterator[TextIO]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as stream:
        try:
            _take(stream)
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise UserError(
                f"study '{file.parent.name}' is being run by {holder}: wait for it, or give another name with --study"
            ) from None
        if file.exists() and os.path.samestat(os.fstat(stream.fileno()), file.stat()):
            yield stream
            return
    with _held(file) as stream:  # whoever held it has just taken it away
        yield stream


def _take(stream: TextIO) -> None:
    """Lock a file. Whoever looks whether a study runs holds it for a moment too, so more than one try is made."""
    import fcntl

    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.05)
