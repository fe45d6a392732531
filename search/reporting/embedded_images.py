"""Images for a page that stands alone: as data URIs, as large as fit into so many characters."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from configs import UserError, open_image
from search.storage.image_grid import is_image

if TYPE_CHECKING:
    from PIL import Image

SIDES = (1024, 768, 640, 512, 448, 384, 320, 256, 192, 160, 128, 96, 64)
"""Pixels of the longer side that images are made smaller to, where the files as they are don't fit."""
GUESS = 256
"""The side at which some are encoded, to tell what all will take: that goes with the area, at most."""
SAMPLE = 8
QUALITY = 80
TYPES = {".png": "image/png", ".webp": "image/webp"}


def embedded(files: Mapping[str, Path], budget: int) -> dict[str, str]:
    """Name → data URI. All are made smaller alike until they fit, to 64 pixels at least; a video is its middle frame.

    budget: characters of all URIs together. What is not there, or is no image, is left out.
    """
    there = {name: file for name, file in files.items() if is_image(file)}
    room = _bytes(budget)
    if not there or room <= 0:
        return {}
    if fit(there, budget):
        return {name: _uri(file.read_bytes(), TYPES[file.suffix]) for name, file in there.items()}
    sample = list(there.values())[:: max(1, len(there) // SAMPLE)]
    with ThreadPoolExecutor() as pool:  # Pillow lets go of the lock while it works

        def read(chosen: Iterable[Path], side: int) -> list[Image.Image | None]:
            return list(pool.map(lambda file: _still(file, side), chosen))

        def made(stills: Iterable[Image.Image | None], side: int) -> list[bytes]:
            return list(pool.map(lambda still: _webp(still, side), stills))

        each = sum(map(len, made(read(sample, GUESS), GUESS))) / len(sample)
        sides = [side for side in SIDES if each * (side / GUESS) ** 2 * len(there) < room] or [SIDES[-1]]
        stills = read(there.values(), sides[0])  # once: to read a large one without loss takes a while
        for side in sides:
            found = made(stills, side)
            if sum(map(len, found)) < room:
                break
    return {name: _uri(data, "image/webp") for name, data in zip(there, found, strict=True) if data}


def fit(files: Mapping[str, Path], budget: int) -> bool:
    """Whether `embedded` takes these files as they are."""
    there = [file for file in files.values() if is_image(file)]
    return sum(file.stat().st_size for file in there) < _bytes(budget) and not any(map(_runs, there))


def _bytes(budget: int) -> int:
    return budget * 3 // 4  # base64 writes three bytes in four characters


def _uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _runs(file: Path) -> bool:
    try:
        with open_image(file) as image:
            return getattr(image, "n_frames", 1) > 1
    except UserError:
        return True  # no image: it will be left out where all are decoded


def _still(file: Path, side: int) -> Image.Image | None:
    """At most `side` pixels; None where the file is no image."""
    from PIL import Image

    try:
        with open_image(file) as image:
            image.seek(getattr(image, "n_frames", 1) // 2)
            still = image.convert("RGB")
    except UserError:
        return None
    still.thumbnail((side, side), Image.Resampling.LANCZOS)
    return still


def _webp(still: Image.Image | None, side: int) -> bytes:
    from PIL import Image

    if still is None:
        return b""
    smaller = still.copy()
    smaller.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    smaller.save(stream, "WEBP", quality=QUALITY, method=3)
    return stream.getvalue()
