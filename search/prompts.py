"""Prompt sets: a name in configs/prompts, a file of the user's (txt, csv, tsv, json, jsonl), or a folder of pictures.

A set is cut in two by the hash of each prompt: the search sees one half, the confirmation the other. Which half
a prompt falls into doesn't depend on the others, so adding prompts moves none.

Sizes follow the sets that people use: PartiPrompts (tsv), DrawBench (csv), GenEval (jsonl), plain lists (txt).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs import UserError, path, unknown

FORMATS = ("txt", "csv", "tsv", "json", "jsonl")
COLUMNS = ("prompt", "caption", "text")  # what a table calls its prompts, the first that it has
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Prompt:
    """One line of a prompt set; the category is "" where the set has none. image: what its image begins from."""

    text: str
    category: str = ""
    image: str | None = None


SUBJECT = "{subject}"
"""Stands in a prompt for the words that the user gives."""


def load(source: str, subject: str | None = None) -> tuple[Prompt, ...]:
    """The prompts of a set, in the file's order, each once. source: a name, or a path. subject: for {subject}.

    Raises:
        UserError: no such set or file, not readable, nothing in it, or a {subject} that is not said.
    """
    file = _find(source)
    if file.is_dir():
        return _distinct(_pictures(file), file, subject)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"can't read the prompts in {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file} is no text in UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    kind = file.suffix.lower().removeprefix(".") or "txt"
    if kind not in FORMATS:
        raise UserError(f"{file}: prompts are read from {', '.join(FORMATS)} files, not from .{kind}")
    return _distinct(_READERS[kind](text, file), file, subject)


def _distinct(rows: Iterable[Prompt], file: Path, subject: str | None) -> tuple[Prompt, ...]:
    prompts: dict[str, Prompt] = {}
    for row in rows:
        if SUBJECT in row.text:
            if subject is None:
                raise UserError(
                    f'the prompts of {file.name} are about a subject of yours: name it, as --subject "a sks dog"'
                )
            row = replace(row, text=row.text.replace(SUBJECT, subject))
        if row.image is not None:
            row = replace(row, image=str(file.parent.resolve() / row.image))
        if row.text:
            prompts.setdefault(row.text, row)
    if not prompts:
        raise UserError(f"{file} holds no prompts: give one a line, or another set with --prompts")
    return tuple(prompts.values())


def _pictures(folder: Path) -> list[Prompt]:
    """A prompt for each picture: what stands in NAME.txt beside it, else its name in words."""
    found = []
    for file in sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES):
        caption = file.with_suffix(".txt")
        try:
            text = caption.read_text("utf-8-sig") if caption.is_file() else re.sub("[_-]", " ", file.stem)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"can't read the caption in {caption}: {error}") from error
        found.append(Prompt(" ".join(text.split()), image=str(file.resolve())))
    return found


def split(prompts: Iterable[Prompt]) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """(for the search, held out): about half each, a prompt always on the same side. Order kept.

    Raises:
        UserError: one side is empty, so nothing could be confirmed.
    """
    prompts = tuple(prompts)
    search = tuple(prompt for prompt in prompts if _hash("half", prompt.text) % 2 == 0)
    held_out = tuple(prompt for prompt in prompts if _hash("half", prompt.text) % 2 == 1)
    if not search or not held_out:
        raise UserError(f"{len(prompts)} prompts are too few to search on one half and confirm on the other: give more")
    return search, held_out


def limited(prompts: Sequence[Prompt], limit: int) -> tuple[Prompt, ...]:
    """At most `limit` of the prompts: from every category its share, by hash, so the same ones each time.

    A larger limit keeps the prompts of a smaller one where there is one category. The set's order is kept.
    """
    if limit >= len(prompts):
        return tuple(prompts)
    groups: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in sorted(prompts, key=lambda p: _hash("order", p.text)):
        groups[prompt.category].append(prompt)
    # Each category's k-th prompt stands at (k + ½) / its size, so the first `limit` hold fair shares.
    places = [
        ((k + 0.5) / len(group), _hash("order", prompt.text), prompt)
        for group in groups.values()
        for k, prompt in enumerate(group)
    ]
    chosen = {prompt.text for _, _, prompt in sorted(places, key=lambda place: place[:2])[:limit]}
    return tuple(prompt for prompt in prompts if prompt.text in chosen)


def seeds(prompts: Sequence[str], seed: int, purpose: str) -> list[int]:
    """One seed for each prompt, from 0 to 2**31 - 1. Another purpose gives other seeds."""
    return [_hash(f"{seed}:{purpose}", prompt) % 2**31 for prompt in prompts]


def _hash(purpose: str, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{text}".encode()).digest()[:8], "big")


def _find(source: str) -> Path:
    known = {file.stem: file for file in path("prompts").glob("*.*") if file.suffix[1:] in FORMATS}
    if source in known:
        return known[source]
    file = Path(source).expanduser()
    if file.exists():
        return file
    if file.suffix or "/" in source:
        raise UserError(
            f"the prompt file {source} does not exist: give a set's name ({', '.join(sorted(known))}), a file, or a "
            "folder of pictures"
        )
    raise unknown("prompt set", source, known)


def _lines(text: str, file: Path) -> list[Prompt]:
    return [Prompt(line.strip()) for line in text.splitlines()]


def _table(text: str, file: Path, delimiter: str) -> list[Prompt]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [_row(row, f"{file}, line {reader.line_num}") for row in reader]
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from error


def _json(text: str, file: Path) -> list[Prompt]:
    try:
        found = json.loads(text) if text.strip() else []
    except ValueError as error:
        raise UserError(f"{file}: not valid JSON: {error}") from error
    if isinstance(found, dict):  # {"prompts": [...]}, as some sets are wrapped
        found = next((value for value in found.values() if isinstance(value, list)), None)
    if not isinstance(found, list):
        raise UserError(f"{file}: expected a list of prompts, or of objects with a 'prompt'")
    return [_row(item, f"{file}, item {number}") for number, item in enumerate(found, 1)]


def _json_lines(text: str, file: Path) -> list[Prompt]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(_row(json.loads(line), f"{file}, line {number}"))
            except ValueError as error:
                raise UserError(f"{file}, line {number}: not valid JSON: {error}") from error
    return rows


def _row(row: Any, where: str) -> Prompt:
    if isinstance(row, str):
        return Prompt(row.strip())
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: expected a prompt or an object with a 'prompt', found {type(row).__name__}")
    cells = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
    column = next((name for name in COLUMNS if name in cells), None)
    if column is None:
        raise UserError(f"{where}: no column 'prompt' among {', '.join(cells) or 'none'}")
    text, category = cells[column], cells.get("category") or cells.get("tag") or ""
    if text is not None and not isinstance(text, str):
        raise UserError(f"{where}: the prompt is {text!r}, not text")
    return Prompt((text or "").strip(), str(category).strip(), str(cells["image"]) if cells.get("image") else None)


_READERS = {
    "txt": _lines,
    "csv": lambda text, file: _table(text, file, ","),
    "tsv": lambda text, file: _table(text, file, "\t"),
    "json": _json,
    "jsonl": _json_lines,
}
