"""The picture that people make by hand (X/Y plot): images over two factors, with the baseline in the corner."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs import UserError, unknown
from freeu import IDENTITY, Factors

if TYPE_CHECKING:
    import torch
    from PIL import Image

NAMES = ("b1", "b2", "s1", "s2")
MOST = 20  # values of an axis
AROUND, STEPS = 0.2, 5  # a neighbourhood: so far to both sides, in so many values
PAPER, INK, SOFT = (255, 255, 255), (27, 31, 36), (87, 96, 106)
GAP, LINE, MARGIN = 6, 20, 12  # pixels: between tiles, of a line of text, round the picture
TEXT = 14


@dataclass(frozen=True)
class Axis:
    """A factor and the values that it takes."""

    name: str
    values: tuple[float, ...]


def axis(text: str, flag: str) -> Axis:
    """From "b1=1:1.6:5" (from, to, how many) or "b1=1,1.2,1.5". Raises UserError."""
    name, equals, values = (part.strip() for part in text.partition("="))
    expected = f"{flag} {text}: expected a factor and its values, as b1=1:1.6:5 (from, to, how many) or b1=1,1.2,1.5"
    if not equals or not values:
        raise UserError(expected)
    if name not in NAMES:
        raise unknown("factor", name, NAMES)
    try:
        if ":" in values:
            low, high, count = values.split(":")
            n, first, last = int(count), float(low), float(high)
            found = [first + (last - first) * i / max(1, n - 1) for i in range(n)] if 0 < n <= MOST else []
        else:
            found = [float(value) for value in re.split(r"\s*,\s*", values)]
    except ValueError:
        raise UserError(expected) from None
    if not 0 < len(found) <= MOST:
        raise UserError(f"{flag} {text}: an axis has 1 to {MOST} values")
    if not all(math.isfinite(value) and value >= 0 for value in found):
        raise UserError(f"{flag} {text}: a factor is a number from 0 on")
    return Axis(name, tuple(round(value, 6) for value in found))


def around(name: str, factors: Factors) -> Axis:
    """A factor's neighbourhood in a candidate, whose own value is the one in the middle."""
    middle = float(getattr(factors, name))
    reach = min(AROUND, middle)  # no factor is below 0
    values = [middle + reach * (2 * i / (STEPS - 1) - 1) for i in range(STEPS)] if reach else [0.0, AROUND]
    return Axis(name, tuple(round(value, 6) for value in values))


def candidates(x: Axis, y: Axis, rest: Factors) -> list[Factors]:
    """The baseline, then row by row. rest: has the other factors, the version and the convention."""
    if x.name == y.name:
        raise UserError(f"--x and --y are both {x.name}: give two factors")
    values = [{x.name: a, y.name: b} for b in y.values for a in x.values]
    return [IDENTITY, *(Factors.from_dict({**rest.as_dict(), **each}) for each in values)]


def draw(
    images: torch.Tensor, x: Axis, y: Axis, title: str, scores: Sequence[Mapping[str, float]], side: int
) -> Image.Image:
    """The picture of one prompt.

    images: uint8 (1 + rows * columns, 3, H, W) or of videos, whose middle frame is shown, (…, frames, 3, H, W), in the
    order of `candidates`. scores: by metric, of each. side: pixels of a tile's longer side, at most.
    """
    from PIL import Image, ImageDraw, ImageFont

    still = images[:, images.shape[1] // 2] if images.ndim == 5 else images
    tiles = [Image.fromarray(each) for each in still.movedim(1, -1).cpu().numpy()]
    scale = side / max(tiles[0].size)
    if scale >= 1:  # whole pixels, each as a square: nothing is seen that was not generated
        size, how = (tiles[0].width * int(scale), tiles[0].height * int(scale)), Image.Resampling.NEAREST
    else:
        size = (max(1, round(tiles[0].width * scale)), max(1, round(tiles[0].height * scale)))
        how = Image.Resampling.LANCZOS
    tiles = [tile.resize(size, how) for tile in tiles]
    font = ImageFont.load_default(TEXT)
    names = list(scores[0]) if scores else []
    wide = max(size[0], int(max((font.getlength(_said(each)) for each in scores), default=0)))
    cell = (wide + GAP, size[1] + LINE * bool(names) + GAP)
    left, top = MARGIN + wide + 3 * GAP, MARGIN + 2 * LINE
    width = max(left + cell[0] * len(x.values), 480) + MARGIN
    head = top + max(0, cell[1] - LINE)  # the corner stands above the rows, beside the columns' names
    picture = Image.new("RGB", (width, head + LINE + cell[1] * len(y.values) + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN), _cut(title, width - 2 * MARGIN, font), INK, font)

    def put(tile: Image.Image, place: tuple[int, int], said: Mapping[str, float]) -> None:
        picture.paste(tile, place)
        pen.text((place[0], place[1] + size[1] + 2), _said(said), SOFT, font)

    put(tiles[0], (MARGIN, top - LINE + GAP), scores[0] if scores else {})
    pen.text((MARGIN + size[0] + 2 * GAP, top - LINE + GAP), "baseline, in the corner", SOFT, font)
    for column, value in enumerate(x.values):
        pen.text((left + column * cell[0], head), f"{x.name} = {round(value, 3):g}", INK, font)
    for row, value in enumerate(y.values):
        below = head + LINE + row * cell[1]
        pen.text((MARGIN, below + size[1] // 2 - TEXT // 2), f"{y.name} = {round(value, 3):g}", INK, font)
        for column in range(len(x.values)):
            i = 1 + row * len(x.values) + column
            put(tiles[i], (left + column * cell[0], below), scores[i] if scores else {})
    return picture


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """One below the other."""
    from PIL import Image

    width, height = max(each.width for each in pictures), sum(each.height for each in pictures)
    whole, top = Image.new("RGB", (width, height), PAPER), 0
    for each in pictures:
        whole.paste(each, (0, top))
        top += each.height
    return whole


def _said(scores: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:#.4g}" for name, value in scores.items())


def _cut(text: str, width: float, font: object) -> str:
    """As much of a text as the width holds."""
    length = font.getlength  # type: ignore[attr-defined]
    if length(text) <= width:
        return text
    while text and length(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
