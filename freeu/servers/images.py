"""Images as servers send them, to pixels."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from configs import UserError

LARGEST = 64_000_000
"""Pixels of an image."""


class Broken(Exception):
    """Bytes that are no whole image: they may come whole when they are asked for again."""


def pixels(data: bytes) -> torch.Tensor:
    """uint8 (3, H, W) of a PNG, or of a WebP without loss; transparency is left out.

    Raises:
        Broken: the bytes are no whole image.
        UserError: an image in a format that loses detail, or one too large.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            kind, size = image.format or "?", image.size
            if kind != "PNG" and not (kind == "WEBP" and b"VP8L" in data[:64]):
                raise UserError(f"the server sends images as {kind}, which loses detail: have it send PNG")
            if size[0] * size[1] > LARGEST:
                raise UserError(
                    f"the server sends an image of {size[0]}×{size[1]}: at most {LARGEST:,} pixels are read"
                )
            found = np.array(image.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file leads it to
        raise Broken(f"{len(data)} bytes that are no whole image") from error
    return torch.from_numpy(found).permute(2, 0, 1).contiguous()
