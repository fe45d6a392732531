"""Paints a scene: antialiased, 64 by 64, RGB. Drawn three times too large with Pillow, then reduced by Lanczos."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from .scene import COLOURS, TONES, Item, Scene

SIZE = 64
SCALE = 3


def draw(scene: Scene) -> np.ndarray:
    """The scene's image: uint8 (64, 64, 3)."""
    canvas = _background(scene)
    for item in sorted(scene.items, key=lambda item: -item.radius):
        canvas.paste(_paint(item), mask=_mask(item))
    return np.asarray(canvas.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def _background(scene: Scene) -> Image.Image:
    tone = np.array(TONES[scene.tone], float)
    side = SIZE * SCALE
    y, x = np.mgrid[0:side, 0:side] / side
    if scene.backdrop == "gradient":
        shift = 80 * (y - 0.5)
    elif scene.backdrop == "checkered":
        shift = 13.0 * np.where((np.floor(x * 8) + np.floor(y * 8)) % 2, 1, -1)
    else:
        shift = 0 * x
    return Image.fromarray((tone + shift[..., None]).round().clip(0, 255).astype(np.uint8))


def _mask(item: Item) -> Image.Image:
    mask = Image.new("L", (SIZE * SCALE,) * 2)
    pen, x, y, r = ImageDraw.Draw(mask), item.x * SCALE, item.y * SCALE, item.radius * SCALE
    if item.shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
    elif item.shape == "square":
        half = 0.9 * r
        pen.rectangle((x - half, y - half, x + half, y + half), fill=255)
    else:
        # An equilateral triangle of circumradius 1.3 r, moved down so that its bounding box is centred.
        big, drop = 1.3 * r, 1.3 * r / 4
        corners = [math.radians(a) for a in (-90, 30, 150)]
        pen.polygon([(x + big * math.cos(a), y + drop + big * math.sin(a)) for a in corners], fill=255)
    return mask


def _paint(item: Item) -> Image.Image:
    """The object's colour over the whole canvas, with darker stripes or dots where its fill asks for them."""
    colour = COLOURS[item.colour]
    paint = Image.new("RGB", (SIZE * SCALE,) * 2, colour)
    shade, pen = tuple(int(0.5 * c) for c in colour), ImageDraw.Draw(paint)
    left, top, right, bottom = (int((c + d * 1.4 * item.radius) * SCALE) for d in (-1, 1) for c in (item.x, item.y))
    if item.fill == "striped":
        for y in range(top, bottom, 6 * SCALE):
            pen.rectangle((left, y, right, y + 3 * SCALE), fill=shade)
    elif item.fill == "dotted":
        for row, y in enumerate(range(top, bottom, 5 * SCALE)):
            for x in range(left + (row % 2) * 3 * SCALE, right, 6 * SCALE):
                pen.ellipse((x, y, x + 3 * SCALE, y + 3 * SCALE), fill=shade)
    return paint
