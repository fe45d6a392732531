"""Opens images that may come from somebody else: bounded, of known formats, and every fault a sentence."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .errors import UserError, shortened
from .reading import shown

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 2**26
"""8192 × 8192. A file of kilobytes can claim billions, which would take all memory ("decompression bomb")."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
"""Pillow would take fifty, and start Ghostscript for one of them."""
DAMAGED = (
    *(OSError, EOFError, SyntaxError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError, RuntimeError),
    AssertionError,
)
"""What decoders raise."""


@contextmanager
def open_image(source: Path | IO[bytes], name: str = "") -> Iterator[Image.Image]:
    """An image whose pixels are decoded when they are used, inside the block, so that what fails there is told too.

    source: a file, or a stream of one; name: what the error calls it, the file where it is left out.

    Raises:
        UserError: it can't be read, is of another format, damaged, or has more than MOST_PIXELS pixels.
    """
    from PIL import Image, UnidentifiedImageError

    called = name or (shown(source) if isinstance(source, Path) else "the image")
    try:
        with Image.open(source, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise UserError(
                    f"the image {called} is too large: {width} × {height} pixels, and {MOST_PIXELS:,} are read; scale "
                    "it down"
                )
            yield image
    except Image.DecompressionBombError as error:
        raise UserError(f"the image {called} is too large: {MOST_PIXELS:,} pixels are read; scale it down") from error
    except UnidentifiedImageError as error:
        raise UserError(f"the image {called} can't be read: it is none of {', '.join(FORMATS)}, or damaged") from error
    except (*DAMAGED, struct.error, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"the image {called} can't be read: {shortened(str(why))}") from error
