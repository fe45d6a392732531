"""Image grids: one picture of a trial's images, small enough to look at and to keep; and single images.

Images are only ever made smaller (Lanczos), never larger: no pixel is seen that was not generated.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from zlib import Z_RLE

from configs import open_image
from search.storage.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

SIDE = 192  # pixels of an image's longer side
LIMIT = 64  # images that a grid shows
GAP = 2  # pixels between images
PAPER = (255, 255, 255)
LEVEL = 1  # of PNG's 1 to 9, and runs alone are looked for: a quarter of the default's time for files as small
EFFORT = 1  # of WebP's 0 to 6: a ninth of the default's time for files 9 % larger
PREVIEW, PREVIEW_QUALITY = 384, 90  # pixels of the longer side, and WebP's, of what stands beside a large image
Images: TypeAlias = "torch.Tensor | list[torch.Tensor]"
"""uint8 (n, 3, H, W) or, of videos, (n, frames, 3, H, W); a list of them, without n, where sizes differ."""
Part: TypeAlias = "tuple[list[int], torch.Tensor]"
"""Some rows, and their images, of one size."""
FRAME_MS = 125  # of a video's grid: eight frames a second


def together(images: Sequence[torch.Tensor]) -> Images:
    """Images (…, 3, H, W) as one tensor where all have one size, else as a list."""
    import torch

    return torch.stack(list(images)) if len({each.shape for each in images}) == 1 else list(images)


def in_order(parts: Sequence[Part]) -> Images | None:
    """The images of all parts by their rows; None for none."""
    by_row = {row: image for rows, images in parts for row, image in zip(rows, images, strict=True)}
    return parts[0][1] if len(parts) == 1 else together([by_row[row] for row in sorted(by_row)]) if parts else None


def small(images: Images, side: int = SIDE) -> Images:
    """Images (…, 3, H, W) at the size that a grid shows them at; videos too."""
    return [_small(each[None], side)[0] for each in images] if isinstance(images, list) else _small(images, side)


def _evened(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Images of several sizes as those of one, with paper around them."""
    import torch
    from torch.nn.functional import pad

    height, width = (max(each.shape[axis] for each in images) for axis in (-2, -1))
    found = []
    for each in images:
        y, x = height - each.shape[-2], width - each.shape[-1]
        found.append(pad(each, (x // 2, x - x // 2, y // 2, y - y // 2), value=PAPER[0]))
    return torch.stack(found)


def _small(images: torch.Tensor, side: int) -> torch.Tensor:
    import torch
    from torchvision.transforms.v2.functional import resize

    height, width = images.shape[-2:]
    shrink = side / max(height, width)
    if shrink >= 1:
        return images
    size = [max(1, round(height * shrink)), max(1, round(width * shrink))]
    flat = resize(images.flatten(0, -4), size, antialias=True)
    return flat.reshape(*images.shape[:-2], *size).to(torch.uint8)


def image_grid(images: torch.Tensor, columns: int | None = None, side: int = SIDE, limit: int = LIMIT) -> Image.Image:
    """Lay images out row by row, in their order.

    images: uint8 (n, 3, H, W), n ≥ 1. columns: a near-square grid where None. side: the longest side in
    pixels that an image is shown at. limit: images beyond it are left out. ValueError on another shape.
    """
    import torch
    from PIL import Image

    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"image_grid takes uint8 (n, 3, H, W) with n ≥ 1, not {images.dtype} {tuple(images.shape)}")
    pixels = images[:limit].permute(0, 2, 3, 1).contiguous().cpu().numpy()
    height, width = pixels.shape[1:3]
    shrink = min(1.0, side / max(height, width))
    cell = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    pictures = [Image.fromarray(image) for image in pixels]
    if pictures[0].size != cell:
        pictures = [picture.resize(cell, Image.Resampling.LANCZOS) for picture in pictures]
    return _laid_out(pictures, columns)


def difference(file: Path, n: int, base: Path, of_base: int) -> Image.Image | None:
    """How far the n images of one grid are from those in the same places of another, as a grid: black is the same.

    None where the two don't compare: of videos, and where a grid doesn't hold all its images.
    """
    from PIL import ImageChops

    found, others = _cells(file, n), _cells(base, of_base)
    if found is None or others is None or len(found) > len(others) or found[0].size != others[0].size:
        return None
    return _laid_out([ImageChops.difference(a, b) for a, b in zip(found, others, strict=False)])


def _cells(file: Path, n: int) -> list[Image.Image] | None:
    """The images of a grid that `save_grid` wrote; None where they aren't n (or 64), or it is no PNG."""
    from PIL import ImageChops

    n = min(n, LIMIT)
    if file.suffix != ".png" or not file.exists() or n < 1:
        return None
    with open_image(file) as picture:
        grid = picture.convert("RGB")
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    if (grid.width + GAP) % columns or (grid.height + GAP) % rows:
        return None
    width, height = (grid.width + GAP) // columns, (grid.height + GAP) // rows
    corners = [(i % columns * width, i // columns * height) for i in range(columns * rows)]
    cells = [grid.crop((x, y, x + width - GAP, y + height - GAP)) for x, y in corners]
    there = [ImageChops.invert(cell).getbbox() is not None for cell in cells]  # else it is paper
    return cells[:n] if all(there[:n]) and not any(there[n:]) else None


def _laid_out(cells: Sequence[Image.Image], columns: int | None = None) -> Image.Image:
    from PIL import Image

    width, height = cells[0].size
    columns = min(len(cells), columns if columns is not None else math.ceil(math.sqrt(len(cells))))
    rows = math.ceil(len(cells) / columns)
    grid = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), PAPER)
    for i, cell in enumerate(cells):
        grid.paste(cell, (i % columns * (width + GAP), i // columns * (height + GAP)))
    return grid


def is_image(file: Path) -> bool:
    """Whether it is there, and begins as the images do that studies keep. In a stranger's study a link to any file of
    yours may be in its place, which no page may show or hand out."""
    begin = b""
    with suppress(OSError):
        if file.is_file():
            with file.open("rb") as stream:
                begin = stream.read(12)
    return begin.startswith((b"\x89PNG\r\n\x1a\n", b"GIF8")) or (begin[:4], begin[8:]) == (b"RIFF", b"WEBP")


def save_grid(images: Images, file: Path, columns: int | None = None, side: int = SIDE) -> None:
    """Write `image_grid` as PNG, with paper around images of several sizes; of videos (n, frames, 3, H, W) as a GIF
    that runs, beside where the PNG would be.

    Under a temporary name first, so a killed process leaves no half picture.
    """
    if isinstance(images, list):
        images = _evened([_small(each[None], side)[0] for each in images[:LIMIT]])
    if images.ndim == 5:
        first, *others = (image_grid(images[:, i], columns, side) for i in range(images.shape[1]))
        with replacing(file.with_suffix(".gif")) as temporary:
            first.save(temporary, format="GIF", save_all=True, append_images=others, duration=FRAME_MS, loop=0)
        return
    grid = image_grid(images, columns, side)
    with replacing(file) as temporary:
        grid.save(temporary, format="PNG", compress_level=LEVEL, compress_type=Z_RLE)


def save_images(images: Images, files: Sequence[Path]) -> None:
    """Write each to its file, as WebP without loss; videos (n, frames, 3, H, W) as such that run.

    Of those that are larger than 384 pixels a smaller one is in small/, of videos the middle frame: a page of many
    images would take half a minute to read them all at their full size.
    """
    for folder in {file.parent for file in files}:
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow leaves Python to others while it encodes
        list(pool.map(_save_image, [each.movedim(-3, -1).cpu().numpy() for each in images], files))


def _save_image(pixels: np.ndarray, file: Path) -> None:
    """pixels: uint8 (H, W, 3), or (frames, H, W, 3)."""
    from PIL import Image

    first, *others = [Image.fromarray(frame) for frame in (pixels if pixels.ndim == 4 else [pixels])]
    more = {"save_all": True, "append_images": others, "duration": FRAME_MS, "loop": 0} if others else {}
    with replacing(file) as temporary:
        first.save(temporary, format="WEBP", lossless=True, method=EFFORT, **more)
    preview = preview_file(file)
    if max(first.size) <= PREVIEW:
        preview.unlink(missing_ok=True)
        return
    middle = [first, *others][(len(others) + 1) // 2]
    middle.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
    with replacing(preview) as temporary:
        middle.save(temporary, format="WEBP", quality=PREVIEW_QUALITY, method=EFFORT)


def preview_file(file: Path) -> Path:
    """Where the smaller one of an image is that `save_images` wrote, if it is large."""
    return file.parent / "small" / file.name
