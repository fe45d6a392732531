"""Reads text and JSON that may come from somebody else: bounded, plain data only, and every fault a sentence.

A parser of the standard library takes whatever it is given: brackets 100,000 deep overflow the stack, numbers of a
million digits and aliases of aliases (the "billion laughs") take hours or all memory, and a date, a NaN or half of a
surrogate pair fails far from the file that it came from. Here each is refused where it is read.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from .errors import UserError, quoted, shortened

LARGEST = 128 * 2**20
"""Bytes of a file that is read whole; COCO's captions, the largest known of use, have 92 million."""
DEEPEST = 64
"""Lists and mappings inside each other."""
LONGEST_NUMBER = 100
"""Characters of a number: one of 309 digits is larger than any float, and more make `int` slow."""
MOST_CONTAINERS, MOST_VALUES = 2_000_000, 8_000_000
"""In a JSON text: each takes up to 250 and 60 bytes."""
HALF = re.compile("[\ud800-\udfff]")


def read_bytes(file: Path, largest: int = LARGEST) -> bytes:
    """What a file holds.

    Raises:
        UserError: it can't be read, or has more than `largest` bytes.
    """
    try:
        with open(file, "rb") as stream:
            found = stream.read(largest + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UserError(f"can't read {shown(file)}: {getattr(error, 'strerror', None) or error}") from error
    if len(found) > largest:
        raise UserError(f"{shown(file)} is too large: at most {largest / 2**20:g} MiB are read")
    return found


def read_text(file: Path, largest: int = LARGEST) -> str:
    """The text of a file in UTF-8, or in UTF-16 that begins with its mark, as Windows' shell writes it.

    Raises:
        UserError: as `read_bytes`, or it is no such text.
    """
    return decoded(read_bytes(file, largest), shown(file))


def decoded(data: bytes, name: str) -> str:
    """The text of bytes, as `read_text`; name: the file's, for the error."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        at = f"{error.reason} at byte {error.start}"
        raise UserError(f"{name} is no text in UTF-8 ({at}): save it as UTF-8") from error


def read_json(file: Path, nan: bool = False, halves: bool = False) -> Any:
    """What a JSON file holds.

    nan: take NaN and infinities, which are no JSON, but which Python's own writer makes. halves: take halves of
    surrogate pairs ("\\ud800" alone), which no encoding can write.

    Raises:
        UserError: the file can't be read, is no JSON, or goes beyond the limits of this module.
    """
    return parse_json(read_text(file), shown(file), nan, halves)


def parse_json(text: str, name: str, nan: bool = False, halves: bool = False) -> Any:
    """What a JSON text holds, as `read_json`; name: the file's, for the error."""

    def real(digits: str) -> float:
        number = float(checked_number(digits))
        if not (nan or math.isfinite(number)):
            raise ValueError(f"{digits} is larger than any number that can be used")
        return number

    def constant(word: str) -> float:
        if not nan:
            raise ValueError(f"{word} is no number that can be used")
        return float(word)

    if text.count("[") + text.count("{") > MOST_CONTAINERS or text.count(",") > MOST_VALUES:
        raise UserError(f"{name} is too large: it holds more than {MOST_VALUES:,} values")
    try:
        found = json.loads(
            text, parse_int=lambda digits: int(checked_number(digits)), parse_float=real, parse_constant=constant
        )
        _check(found, halves)
    except RecursionError:
        raise UserError(f"{name} can't be read: not valid JSON: {too_deep()}") from None
    except ValueError as error:
        raise UserError(f"{name} can't be read: not valid JSON: {shortened(str(error))}") from error
    return found


def shown(file: Path) -> str:
    """A file's name for an error."""
    return shortened(os.fspath(file))


def _check(found: Any, halves: bool) -> None:
    """Raises ValueError where plain data is nested too deep, or has a text that can't be written."""
    level, depth = [found], 0
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif not halves and isinstance(one, str) and not one.isascii() and HALF.search(one):
                raise ValueError(f"the text {quoted(one)} has half of a surrogate pair, which is no character")
        level, depth = below, depth + 1
        if depth > DEEPEST + 1:
            raise ValueError(too_deep())


def too_deep() -> str:
    """What is said of it."""
    return f"lists and mappings are nested more than {DEEPEST} deep"


def checked_number(digits: str) -> str:
    """The digits of a number. Raises ValueError where they are too many."""
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(
            f"the number {shortened(digits, 20)} has {len(digits):,} characters: {LONGEST_NUMBER} are read"
        )
    return digits
