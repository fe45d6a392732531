"""Images on disk as tensors, and the files that hold them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import UserError
from configs.image_files import SUFFIXES, still_image
from configs.image_folders import images_in


def files(folder: Path) -> list[Path]:
    """The images below a folder, image2 before image10; see `configs.image_folders`.

    Raises:
        UserError: it is no folder, or there are none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder of images")
    if found := images_in(folder):
        return found
    raise UserError(f"{folder} holds no images: expected {', '.join(SUFFIXES)}")


def decoded(name: str, source: Path | bytes) -> torch.Tensor:
    """One image file as uint8 (3, H, W), as `configs.image_files` opens it.

    Raises:
        UserError: it can't be read, or holds several frames.
    """
    return torch.from_numpy(np.array(still_image(source, name))).permute(2, 0, 1)


def read(found: Sequence[Path]) -> torch.Tensor:
    """Images of one size as uint8 (n, 3, H, W).

    Raises:
        UserError: one can't be read, or differs in size from the first.
    """
    images: list[torch.Tensor] = []
    for file in found:
        images.append(decoded(str(file), file))
        if images[-1].shape != images[0].shape:
            sizes = (f"{each.shape[2]}×{each.shape[1]}" for each in (images[-1], images[0]))
            raise UserError(f"{file} is {' and not '.join(sizes)} as {found[0].name}: images of a set are of one size")
    return torch.stack(images)


def table_rows(file: Path, column: str) -> Iterator[tuple[str, Path | bytes]]:
    """(name, file or content) of the images of a table: parquet whose column holds {bytes, path}, bytes or paths, or a
    csv, tsv or jsonl whose column holds paths, relative to the table.

    Raises:
        UserError: it can't be read, has no such column, or an image is not there.
    """
    for number, cell in enumerate(_cells(file, column), 1):
        where = f"{file}, row {number}"
        path, data = (cell.get("path"), cell.get("bytes")) if isinstance(cell, dict) else (cell, None)
        if data is not None:
            yield str(path or where), data
        elif isinstance(path, bytes):
            yield where, path
        elif isinstance(path, str) and os.path.isfile(file.parent / path):
            yield path, file.parent / path
        else:
            raise UserError(f"{where}: the image {str(cell)[:200]!r} is neither there nor an image's bytes")


def _cells(file: Path, column: str) -> Iterator[Any]:
    import pandas as pd

    try:
        if file.suffix == ".parquet":
            table = pd.read_parquet(file)
        elif file.suffix == ".jsonl":
            table = pd.read_json(file, lines=True)
        else:
            table = pd.read_csv(file, sep="\t" if file.suffix == ".tsv" else ",", encoding="utf-8-sig")
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise UserError(f"can't read the table {file}: {error}") from error
    if column not in table.columns:
        raise UserError(f"{file} has no column '{column}': {', '.join(map(str, table.columns))}")
    yield from table[column]
