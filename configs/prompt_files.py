"""Files of prompts, in whatever form people have them: txt, csv, tsv, json, jsonl, parquet, or a folder.

The layouts of PartiPrompts (tsv), DrawBench (csv), GenEval (jsonl), T2I-CompBench (txt), DPG-Bench (a folder of text
files), COCO's captions, HPDv2's benchmark (json) and Pick-a-Pic (parquet) are among them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import UserError, parse_json, quoted, read_text, shortened

COLUMNS = ("prompt", "prompts", "caption", "text")
"""What a table calls its prompts; the first that it has."""
CATEGORIES = ("category", "tag", "challenge")
MOST = 2_000_000
"""Prompts of a file."""
LARGEST_COLUMNS = 256 * 2**20
"""Bytes that a parquet's columns of text become; a file of kilobytes can hold gigabytes of one letter."""
ROWS = 1024
"""Of a parquet, at a time."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Prompt:
    """One line of a prompt set; the category is "" where the set has none. image: what its image begins from, or is."""

    text: str
    category: str = ""
    image: str | None = None


def rows(file: Path) -> list[Prompt]:
    """The prompts of a file or folder in their order, empty ones and repetitions among them.

    Raises:
        UserError: it can't be read, is of an unknown form, or has no column of prompts.
    """
    if file.is_dir():
        return _folder(file)
    kind = file.suffix.lower().removeprefix(".") or "txt"
    if kind not in FORMATS:
        raise UserError(f"{file}: prompts are read from {', '.join(FORMATS)} files and folders, not from .{kind}")
    if kind == "parquet":
        return _parquet(file)
    text = read_text(file)
    if kind != "json" and text.count("\n") > MOST:  # JSON has its own limits
        raise UserError(f"{file} is too large: it has more than {MOST:,} lines")
    return _READERS[kind](text, file)


def _folder(folder: Path) -> list[Prompt]:
    """A prompt for each picture (the text beside it, else its name in words), or for each text file where there are no
    pictures."""
    pictures = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
    if not pictures:
        return [Prompt(" ".join(read_text(file).split())) for file in sorted(folder.glob("*.txt"))]
    found = []
    for file in pictures:
        caption = file.with_suffix(".txt")
        text = read_text(caption) if caption.is_file() else re.sub("[_-]", " ", file.stem)
        found.append(Prompt(" ".join(text.split()), image=file.name))
    return found


def _lines(text: str, file: Path) -> list[Prompt]:
    return [Prompt(line.strip()) for line in text.splitlines()]


def _table(text: str, file: Path, delimiter: str) -> list[Prompt]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [_row(row, f"{file}, line {reader.line_num}") for row in reader]
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from error


def _json(text: str, file: Path) -> list[Prompt]:
    found = parse_json(text, str(file)) if text.strip() else []
    if isinstance(found, dict):  # {"prompts": [...]}; COCO's {"images": [...], "annotations": [...]}
        lists = [value for value in found.values() if isinstance(value, list)]
        found = next((each for each in lists if each and _has_prompt(each[0])), next(iter(lists), None))
    if not isinstance(found, list):
        raise UserError(f"{file}: expected a list of prompts, or of objects with a 'prompt'")
    return [_row(item, f"{file}, item {number}") for number, item in enumerate(found, 1)]


def _json_lines(text: str, file: Path) -> list[Prompt]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{file}, line {number}"
            found.append(_row(parse_json(line, where), where))
    return found


def _parquet(file: Path) -> list[Prompt]:
    import pyarrow.lib
    import pyarrow.parquet

    found: list[Prompt] = []
    try:
        names = pyarrow.parquet.read_schema(file).names
        wanted = [name for name in names if name.lower() in (*COLUMNS, *CATEGORIES)]
        if not any(name.lower() in COLUMNS for name in wanted):
            raise _no_prompts(str(file), names)
        with pyarrow.parquet.ParquetFile(file, read_dictionary=wanted) as table:  # texts that repeat are there once
            if table.metadata.num_rows > MOST:
                raise UserError(f"{file} is too large: it has {table.metadata.num_rows:,} rows, and {MOST:,} are read")
            size = 0
            for batch in table.iter_batches(ROWS, columns=wanted):
                size += batch.nbytes
                if size > LARGEST_COLUMNS:
                    raise UserError(f"{file} is too large: its texts have more than {LARGEST_COLUMNS:,} bytes")
                found += [
                    _row(row, f"{file}, row {number}") for number, row in enumerate(batch.to_pylist(), len(found) + 1)
                ]
    except (OSError, ValueError, pyarrow.lib.ArrowException) as error:
        raise UserError(f"can't read the prompts in {file}: {shortened(str(error))}") from error
    return found


def _no_prompts(where: str, names: Iterable[str]) -> UserError:
    return UserError(f"{where}: no column 'prompt' among {shortened(', '.join(names)) or 'none'}")


def _has_prompt(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, Mapping) and any(str(key).lower() in COLUMNS for key in item))


def _row(row: Any, where: str) -> Prompt:
    if isinstance(row, str):
        return Prompt(row.strip())
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: expected a prompt or an object with a 'prompt', found {type(row).__name__}")
    cells = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
    column = next((name for name in COLUMNS if name in cells), None)
    if column is None:
        raise _no_prompts(where, cells)
    text = cells[column]
    category = next((cells[name] for name in CATEGORIES if cells.get(name)), "")
    if text is not None and not isinstance(text, str):
        raise UserError(f"{where}: the prompt is {quoted(text)}, not text")
    image = cells.get("image")
    return Prompt((text or "").strip(), str(category).strip(), image if isinstance(image, str) and image else None)


_READERS: dict[str, Callable[[str, Path], list[Prompt]]] = {
    "txt": _lines,
    "csv": lambda text, file: _table(text, file, ","),
    "tsv": lambda text, file: _table(text, file, "\t"),
    "json": _json,
    "jsonl": _json_lines,
}
FORMATS = (*_READERS, "parquet")
