"""Files of prompts, in whatever form people have them: txt, csv, tsv, json, jsonl, parquet, or a folder.

The layouts of PartiPrompts (tsv), DrawBench (csv), GenEval (jsonl), T2I-CompBench (txt), DPG-Bench (a folder of text
files), COCO's captions, HPDv2's benchmark (json) and Pick-a-Pic (parquet) are among them.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import UserError, parse_json, read_text, shortened
from .image_folders import files_in, images_in
from .prompt_questions import COLUMN as QUESTIONS
from .prompt_rows import (
    CATEGORIES,
    COLUMNS,
    IMAGES,
    NEGATIVES,
    PICTURES,
    Prompt,
    has_prompt,
    no_prompts,
    prompt_of,
    with_names,
)

MOST = 2_000_000
"""Prompts of a file."""
LARGEST_COLUMNS = 256 * 2**20
"""Bytes that a parquet's columns of text become; a file of kilobytes can hold gigabytes of one letter."""
ROWS = 1024
"""Of a parquet, at a time."""
METADATA = "metadata"
"""Of a Hugging Face image folder: the table (csv, jsonl, parquet) that captions the pictures beside it."""


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
    """A prompt for each picture: the metadata's, the text beside it, or its name in words. Where there are no pictures
    one for each text file, whose name is the image's."""
    pictures, texts = images_in(folder), files_in(folder, (".txt",))
    if not pictures:
        return [Prompt(_one_line(file), name=file.relative_to(folder).as_posix()) for file in texts]
    tables = [file for file in files_in(folder, (".csv", ".jsonl", ".parquet")) if file.stem == METADATA]
    return _in_tables(folder, pictures, tables) if tables else _beside(folder, pictures, texts)


def _beside(folder: Path, pictures: list[Path], texts: list[Path]) -> list[Prompt]:
    """Raises UserError where there are texts without a picture and pictures without a text."""
    captions = {_spelt(file.with_suffix("")): file for file in texts}
    found = []
    for file in pictures:
        caption, name = captions.get(_spelt(file.with_suffix(""))), file.relative_to(folder).as_posix()
        text = _one_line(caption) if caption else " ".join(re.sub("[_-]", " ", file.stem).split())
        found.append(Prompt(text, image=name, name=name))
    bare = [file.name for file in pictures if _spelt(file.with_suffix("")) not in captions]
    left = captions.keys() - {_spelt(file.with_suffix("")) for file in pictures}
    if bare and left:
        raise UserError(
            f"{folder}: no picture is called as {captions[min(left)].name}, and no text as {bare[0]}: give a picture "
            "and its caption one name, and move other texts out"
        )
    return found


def _in_tables(folder: Path, pictures: list[Path], tables: list[Path]) -> list[Prompt]:
    """Raises UserError where a picture has no row, or a row no name."""
    places = {_spelt(file): file for file in pictures}
    found, told = [], set()
    for table in tables:
        for row in rows(table):
            if row.name is None:
                raise UserError(f"{table} has a prompt without the name of its picture in a column file_name")
            key = _spelt(table.parent / row.name)
            told.add(key)
            name = Path(os.path.relpath(places.get(key, table.parent / row.name), folder)).as_posix()
            found.append(replace(row, image=name, name=name))
    if missing := [file.name for key, file in places.items() if key not in told]:
        raise UserError(f"{tables[0]} has no prompt for {missing[0]} ({len(missing)} of {len(pictures)} pictures)")
    return found


def _spelt(file: Path) -> str:
    """A path in one spelling: macOS' names have é in two characters."""
    return unicodedata.normalize("NFC", file.as_posix())


def _one_line(file: Path) -> str:
    return " ".join(read_text(file).split())


def _lines(text: str, file: Path) -> list[Prompt]:
    return [Prompt(line.strip()) for line in text.splitlines()]


def _table(text: str, file: Path, delimiter: str) -> list[Prompt]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [prompt_of(row, f"{file}, line {reader.line_num}") for row in reader]
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from error


def _json(text: str, file: Path) -> list[Prompt]:
    found = parse_json(text, str(file)) if text.strip() else []
    if isinstance(found, dict):  # {"prompts": [...]}; COCO's {"images": [...], "annotations": [...]}
        lists = [value for value in found.values() if isinstance(value, list)]
        images = found.get("images")
        found = next((each for each in lists if each and has_prompt(each[0])), next(iter(lists), None))
        if isinstance(found, list) and isinstance(images, list) and found is not images:
            found = list(with_names(found, images, str(file)))
    if not isinstance(found, list):
        raise UserError(f"{file}: expected a list of prompts, or of objects with a 'prompt'")
    return [prompt_of(item, f"{file}, item {number}") for number, item in enumerate(found, 1)]


def _json_lines(text: str, file: Path) -> list[Prompt]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{file}, line {number}"
            found.append(prompt_of(parse_json(line, where), where))
    return found


def _parquet(file: Path) -> list[Prompt]:
    import pyarrow.lib
    import pyarrow.parquet

    found: list[Prompt] = []
    try:
        schema = pyarrow.parquet.read_schema(file)
        read = (*COLUMNS, *CATEGORIES, *NEGATIVES, *PICTURES, QUESTIONS)
        wanted = [name for name in schema.names if name.lower() in read]
        if not any(name.lower() in COLUMNS for name in wanted):
            raise no_prompts(str(file), schema.names)
        with pyarrow.parquet.ParquetFile(file, read_dictionary=wanted) as table:  # texts that repeat are there once
            if table.metadata.num_rows > MOST:
                raise UserError(f"{file} is too large: it has {table.metadata.num_rows:,} rows, and {MOST:,} are read")
            size = 0
            for batch in table.iter_batches(ROWS, columns=[*wanted, *_names_of_images(schema)]):
                size += batch.nbytes
                if size > LARGEST_COLUMNS:
                    raise UserError(f"{file} is too large: its texts have more than {LARGEST_COLUMNS:,} bytes")
                rows = enumerate(batch.to_pylist(), len(found) + 1)
                found += [prompt_of(row, f"{file}, row {number}") for number, row in rows]
    except (OSError, ValueError, pyarrow.lib.ArrowException) as error:
        raise UserError(f"can't read the prompts in {file}: {shortened(str(error))}") from error
    return found


def _names_of_images(schema: Any) -> list[str]:
    """The columns of a parquet file that name images, without those that hold them."""
    import pyarrow

    found = []
    for field in schema:
        if field.name.lower() not in IMAGES:
            continue
        if pyarrow.types.is_string(field.type) or pyarrow.types.is_large_string(field.type):
            found.append(field.name)
        elif pyarrow.types.is_struct(field.type) and field.type.get_field_index("path") >= 0:
            found.append(f"{field.name}.path")
    return found


_READERS: dict[str, Callable[[str, Path], list[Prompt]]] = {
    "txt": _lines,
    "csv": lambda text, file: _table(text, file, ","),
    "tsv": lambda text, file: _table(text, file, "\t"),
    "json": _json,
    "jsonl": _json_lines,
}
FORMATS = (*_READERS, "parquet")
