"""What can be chosen, as data (models, prompt sets, studies), how files are read, and what is said when one is wrong.

A leaf: it imports nothing of ours, so that freeu, metrics and search can all raise the same kind of error.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from .errors import UserError, quoted, shortened, unknown
from .images import open_image
from .reading import decoded, parse_json, read_bytes, read_json, read_text
from .safetensors_header import read_safetensors_header

__all__ = [
    "UserError",
    "decoded",
    "identity",
    "open_image",
    "parse_json",
    "path",
    "quoted",
    "read_bytes",
    "read_json",
    "read_safetensors_header",
    "read_text",
    "read_yaml",
    "shortened",
    "unknown",
]

UserError.__module__ = __name__  # as people import it, and see it in a traceback


def path(*parts: str) -> Path:
    """A file or folder of this package, also where it is installed."""
    return Path(__file__).parent.joinpath(*parts)


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; see `configs.plain_yaml`, which is loaded when it is needed."""
    from . import plain_yaml

    return plain_yaml.read_yaml(file)


def identity(source: Path) -> str:
    """SHA-256 of a file, or of every file under a folder with its relative name: names weights by what they are."""
    digest = hashlib.sha256()
    files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
    for file in files:
        digest.update(file.relative_to(source).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
