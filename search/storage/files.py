"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import configs
from configs import UserError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A temporary path that takes `file`'s place when the block ends well. No other process has the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{uuid4().hex}.part")
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


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
