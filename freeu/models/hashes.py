"""Hashes of large files, remembered from one start to the next: a checkpoint of 7 GB takes half a minute to read.

    ~/.cache/freeu/sha256/KEY    the file's SHA-256; KEY is of its path, size and times

A file that was written, moved or replaced since has other times, and is read again. Nothing is lost by deleting them.
Of several processes that want a file's hash, as a study's workers, one reads it and the others wait for that.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LARGE = 2**26
"""Bytes from which on a hash is remembered: smaller files are read in a moment."""
CHUNK = 2**24
Told = Callable[[int], None]
"""Is told how many bytes more were read."""


def of_file(file: Path, told: Told = lambda _: None) -> bytes:
    """SHA-256 of a file's contents."""
    stat = file.stat()
    return _of(file.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, told)


def is_known(file: Path) -> bool:
    """Whether its hash is remembered, or found in a moment."""
    stat = file.stat()
    if stat.st_size < LARGE:
        return True
    return _read(_place(file.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)) is not None


_held: dict[tuple[Path, int, int, int], bytes] = {}


def _of(file: Path, size: int, changed: int, moved: int, told: Told) -> bytes:
    key = file, size, changed, moved
    if key not in _held:
        _held[key] = _hash(file, told) if size < LARGE else _remembered(file, _place(*key), told)
    return _held[key]


def _remembered(file: Path, place: Path, told: Told) -> bytes:
    if (found := _read(place)) is None:
        with _alone(file):
            if (found := _read(place)) is None:  # else another process has just read it
                found = _hash(file, told)
                _write(place, found)
    return found


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One at a time, by a lock of the file itself: the kernel lets go when a process ends, however it ends."""
    with ExitStack() as held:
        with suppress(OSError):  # a disk without locks: then each reads it
            fcntl.flock(held.enter_context(file.open("rb")), fcntl.LOCK_EX)
        yield


def _hash(file: Path, told: Told) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            told(len(chunk))
    return digest.digest()


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freeu" / "sha256"


def _place(file: Path, size: int, changed: int, moved: int) -> Path:
    named = f"{file}\0{size}\0{changed}\0{moved}".encode("utf-8", "surrogateescape")
    return _folder() / hashlib.sha256(named).hexdigest()


def _read(place: Path) -> bytes | None:
    with suppress(OSError, ValueError):
        found = bytes.fromhex(place.read_text("ascii"))
        return found if len(found) == 32 else None
    return None


def _write(place: Path, found: bytes) -> None:
    with suppress(OSError):  # a home that can't be written: then it is read again next time
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f"{place.name}.{os.getpid()}")
        new.write_text(found.hex(), "ascii")
        new.replace(place)
