"""JSON that is written whole or not at all; see `configs.whole_files`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import configs
from configs import UserError
from configs.whole_files import replacing, sweep

__all__ = ["read_json", "replacing", "sweep", "write_json"]


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
