"""Which files of a folder are its images, and in which order.

What file managers and notebooks keep beside images is left out (`.thumbnails`, `.ipynb_checkpoints`, `@eaDir`,
macOS' `._0.png`). Whatever else looks like an image is read or is an error: a set that lost some without a word would
be scored all the same.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import UserError
from .image_files import SUFFIXES

UNREAD = (".heic", ".heif", ".jxl", ".jp2", ".j2k", ".exr", ".pfm", ".psd", ".tga", ".dds", ".ppm", ".pgm", ".pnm")
"""Of images that are not read."""
KEPT_BY_OTHERS = {"@eaDir", "@Recycle", "#recycle", "$RECYCLE.BIN", "__MACOSX"}
"""Folders of Synology, QNAP, Windows and macOS."""


def images_in(folder: Path, deep: bool = True) -> list[Path]:
    """The images of a folder, image2 before image10; none is an empty list. deep: also those of the folders in it.

    Raises:
        UserError: the folder can't be listed, an image is a broken link, or is in a format that is not read.
    """
    found = files_in(folder, (*SUFFIXES, *UNREAD), deep)
    for file in found:
        if file.suffix.lower() in UNREAD:
            raise UserError(f"the image {file} can't be read: save it as PNG, or move it out of {folder}")
    return found


def files_in(folder: Path, suffixes: Sequence[str], deep: bool = True) -> list[Path]:
    """The files of a folder that end in one of the suffixes (lower case), in the order of `images_in`.

    Links to folders are followed, hidden files and folders are left out. Raises as `images_in` does.
    """
    try:
        found = [file for file in _files(folder, deep) if file.suffix.lower() in suffixes]
        if broken := [file for file in found if not file.is_file()]:
            raise UserError(f"{broken[0]} is no file: mend the link, or remove it")
    except OSError as error:
        raise UserError(f"can't list the folder {error.filename or folder}: {error.strerror or error}") from error
    return sorted(found, key=lambda file: natural(file.relative_to(folder).as_posix()))


def natural(name: str) -> tuple[list[str | int], str]:
    """A key by which names are sorted as people count: 2 before 10. How a disk encodes é is no matter."""
    parts = re.split(r"(\d+)", unicodedata.normalize("NFC", name))
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def _files(folder: Path, deep: bool, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """above: the real paths of the folders that this one is in; a link back to one of them is not followed."""
    here = (*above, os.path.realpath(folder))
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.name in KEPT_BY_OTHERS:
            continue
        if not entry.is_dir():
            yield entry
        elif deep and os.path.realpath(entry) not in here:
            yield from _files(entry, deep, here)
