"""What `--reference` names, told without loading anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from configs import UserError
from configs.image_folders import files_in

TABLES = (".parquet", ".csv", ".tsv", ".jsonl")
HUB = re.compile(r"[\w.-]+/[\w.-]+")
IMAGES_OF_HUB = 5000


def parse(text: str) -> dict[str, Any]:
    """As a model's YAML says it: a folder of images (or of parquet files), a table, an .npz, or a data set of the hub
    as OWNER/NAME, perhaps with :N for its first N images.

    Raises:
        UserError: it is none of them.
    """
    place = Path(text).expanduser().absolute()
    if place.is_dir():
        tables = [str(file) for file in files_in(place, (".parquet",))]
        return _table(tables) if tables else {"kind": "folder", "folder": str(place)}
    if place.is_file() and place.suffix == ".npz":
        return {"kind": "statistics", "file": str(place)}
    if place.is_file() and place.suffix in TABLES:
        return _table(str(place))
    name, _, count = text.partition(":")
    if not place.exists() and HUB.fullmatch(name) and (count.isdigit() or not count):
        n = int(count) if count else IMAGES_OF_HUB
        return {"kind": "hub_dataset", "dataset": name, "split": "train", "image": "image", "n": n}
    raise UserError(
        f"--reference {text}: there is no such folder of images, table ({', '.join(TABLES)}) or .npz, and it is "
        "no data set of the hub (OWNER/NAME)"
    )


def _table(files: str | list[str]) -> dict[str, Any]:
    return {"kind": "table", "file": files, "image": "image"}
