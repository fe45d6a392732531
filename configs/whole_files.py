"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

PART = re.compile(r"\.[0-9a-f]{32}\.part")


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary path that takes `file`'s place when the block ends well. No other process has the same.

    It is locked meanwhile, and the kernel lets go when the process ends, however it ends: so `sweep` knows whose
    process is gone, on other machines too.

    Raises:
        OSError: `file` is a device, a pipe or a socket, whose place no file takes.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise OSError(errno.EINVAL, "it is no plain file", str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked_part(file.parent) as temporary:
        try:
            yield temporary
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)


def sweep(*folders: Path, deep: bool = True) -> None:
    """Remove what killed processes left of `replacing`, in these folders and, where deep, all below them."""
    for folder in folders:
        for place, below, names in os.walk(folder):
            for name in filter(PART.fullmatch, names):
                _remove_if_left(Path(place, name))
            if not deep:
                below.clear()


@contextmanager
def _locked_part(folder: Path) -> Iterator[Path]:
    while True:
        temporary = folder / f".{uuid4().hex}.part"
        with temporary.open("xb") as stream:
            with suppress(OSError):  # a disk without locks, on which nothing is swept either
                fcntl.flock(stream, fcntl.LOCK_EX)
            if temporary.exists():  # else it was swept before it was locked
                yield temporary
                return


def _remove_if_left(part: Path) -> None:
    with suppress(OSError), part.open("rb+") as stream:  # another process holds it, or has just taken it away
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink()
