"""Image files, opened in one way everywhere: 8-bit RGB, as a viewer shows them.

EXIF's orientation is applied, 16-bit grey is scaled to 8 bits, and transparency is laid on white. Pillow alone would
leave a photograph turned, clip 16 bits at 255, and show what lies behind the transparency.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import UserError, open_image

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
BITS, WHITE_IS_ZERO = 258, 262
"""TIFF's tags: bits of a sample, and the photometric interpretation, 0 where white is 0."""


def image_frames(source: Path | bytes, name: str) -> Iterator[Image.Image]:
    """The frames of an image file in their order, RGB; one of a still image. name: of the file, for errors.

    Raises:
        UserError: it can't be read, or its pixels have no fixed range.
    """
    from PIL import ImageOps, ImageSequence

    with open_image(source if isinstance(source, Path) else io.BytesIO(source), name) as file:
        tags = dict(getattr(file, "tag_v2", {}))
        # Behind a camera's MPO photograph lie previews of it.
        for frame in [file] if file.format == "MPO" else ImageSequence.Iterator(file):
            yield _rgb(ImageOps.exif_transpose(frame), tags)


def still_image(source: Path | bytes, name: str) -> Image.Image:
    """An image file of one frame, RGB. name: of the file, for errors.

    Raises:
        UserError: it can't be read, its pixels have no fixed range, or it holds several frames.
    """
    found = list(islice(image_frames(source, name), 2))
    if len(found) > 1:
        raise UserError(f"the image {name} can't be read: it holds several frames; save each as an image of its own")
    return found[0]


def _rgb(image: Image.Image, tags: Mapping[int, Any]) -> Image.Image:
    """tags: TIFF's, of the file."""
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers, which have no fixed white: save it with 8 or 16 bits")
    if image.mode.startswith("I;16"):
        image = _eight_bits(image, 2 ** tags.get(BITS, (16,))[0] - 1, tags.get(WHITE_IS_ZERO) == 0)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image, top: int, inverted: bool) -> Image.Image:
    """Of 16-bit grey from 0 to `top`, which Pillow leaves as it is in the file."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image).astype(np.uint32)
    grey = ((pixels * 255 + top // 2) // top).clip(max=255).astype(np.uint8)
    found = Image.fromarray(255 - grey if inverted else grey)
    if "transparency" in image.info:
        found.putalpha(Image.fromarray((pixels != image.info["transparency"]).astype(np.uint8) * 255))
    return found
