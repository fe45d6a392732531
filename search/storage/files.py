"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import configs
from configs import UserError

PART = re.compile(r"\.[0-9a-f]{32}\.part")


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary path that takes `file`'s place when the block ends well. No other process has the same.

    It is locked meanwhile, and the kernel lets go when the process ends, however it ends: so `sweep` knows whose
    process is gone, on other machines too.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with _locked_part(file.parent) as temporary:
        try:
            yield temporary
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)


def sweep(*folders: Path) -> None:
    """Remove what killed processes left of `replacing`, in these folders and all below them."""
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in filter(PART.fullmatch, names):
                _remove_if_left(Path(place, name))


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


def write_json(file: Path, content: Any) -> None:
    """Write JSON in one step. A nan or infinity in it is a ValueError: it would not be JSON."""
    text = json.dumps(content, indent=1, allow_nan=False)
    with replacing(file) as temporary:
        temporary.write_text(text, "utf-8")


def read_json(file: Path) -> Any:
    """What `write_json` wrote. Raises UserError where the file is damaged."""
    try:
        return configs.read_json(file, halves=True)  # of pairs of surrogates, as a prompt may have one
    except UserError as error:
        raise UserError(f"{error}: remove it, and it is made again") from error
