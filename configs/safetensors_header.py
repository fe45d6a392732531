"""The header of a safetensors file, which may come from somebody else, without its tensors.

Eight bytes with the header's length, the header in JSON, then the tensors, which it gives offsets into
(github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import UserError, quoted, shortened
from .reading import decoded, parse_json, shown

LARGEST = 100_000_000
"""Bytes of a header, as the format has it."""


def read_safetensors_header(file: Path) -> dict[str, Any]:
    """Names, types and shapes of a safetensors file's tensors; under "__metadata__" texts by name, where it has them.

    Raises:
        UserError: it can't be read, is no safetensors file, or its end is missing.
    """
    try:
        with open(file, "rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= LARGEST:
                raise UserError(f"{shown(file)} is no safetensors file: its header has no length")
            if length > size - 8:
                raise UserError(f"{shown(file)} is cut off: it has {size:,} of {8 + length:,} bytes; get it again")
            text = stream.read(length)
    except (OSError, ValueError) as error:
        raise UserError(f"can't read {shown(file)}: {getattr(error, 'strerror', None) or error}") from error
    try:
        found = parse_json(decoded(text, "its header"), "its header")
        needed = 8 + length + max([0, *(_end(name, each) for name, each in _entries(found))])
    except UserError as error:
        raise UserError(f"{shown(file)} is no safetensors file: {error}") from error
    if size < needed:
        raise UserError(f"{shown(file)} is cut off: it has {size:,} of {needed:,} bytes; get it again")
    return found


def _entries(found: Any) -> list[tuple[str, Any]]:
    if not isinstance(found, dict):
        raise UserError("its header is no mapping")
    texts = found.get("__metadata__")
    if texts is not None and not (isinstance(texts, dict) and all(isinstance(each, str) for each in texts.values())):
        raise UserError("its metadata are no texts by name")
    return [(name, each) for name, each in found.items() if name != "__metadata__"]


def _end(name: str, entry: Any) -> int:
    """Where a tensor ends, in bytes after the header. Raises UserError where its entry is none."""
    entry = entry if isinstance(entry, dict) else {}
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    sound = isinstance(entry.get("dtype"), str) and _sizes(shape) and _sizes(offsets) and len(offsets) == 2
    if not sound or offsets[0] > offsets[1]:
        raise UserError(f"the tensor {quoted(name)} has no dtype, shape and offsets: {shortened(repr(entry))}")
    return int(offsets[1])


def _sizes(found: Any) -> bool:
    return isinstance(found, list) and all(type(each) is int and each >= 0 for each in found)
