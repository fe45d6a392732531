"""Places the labels of a plot's points: one after the other where there is room, then again in view of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 340, 270
"""Pixels that a plot is taken to have."""
ROOM = 0.3
"""Beyond the points on each side, in their spans: as the report's script has it."""
LETTER, LINE = 6, 16
"""Pixels of a letter's width, and of a line's height."""
AWAY = 8
"""Pixels between a point's middle and its label."""
SIDES = (
    "top right",
    "top left",
    "bottom right",
    "bottom left",
    "top center",
    "bottom center",
    "middle right",
    "middle left",
)
"""Plotly's names, the best first."""
ROUNDS = 3
OUTSIDE, ON_LABEL, ON_POINT = 100.0, 20.0, 1.0
"""What a label costs that leaves the plot, where it is cut, lies on another one, or on a point."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


def sides(points: Mapping[int, tuple[float, float]], texts: Mapping[int, str]) -> dict[int, str]:
    """Where the text of each point that has one stands beside it, one of SIDES. points: all in view, in data units."""
    places = _pixels(points)
    marks = {key: (x - AWAY / 2, y - AWAY / 2, x + AWAY / 2, y + AWAY / 2) for key, (x, y) in places.items()}
    named = sorted((key for key in points if texts.get(key)), key=lambda key: places[key])
    found: dict[int, str] = {}
    for key in named * ROUNDS:
        boxes = {side: _box(places[key], texts[key], side) for side in SIDES}
        taken = [_box(places[other], texts[other], side) for other, side in found.items() if other != key]
        others = [marks[other] for other in points if other != key]
        found[key] = min(boxes, key=lambda side: _cost(boxes[side], taken, others))
    return found


def _pixels(points: Mapping[int, tuple[float, float]]) -> dict[int, tuple[float, float]]:
    def scaled(values: Sequence[float], size: float) -> list[float]:
        low, span = min(values), (max(values) - min(values)) or 1.0
        return [size * (ROOM + (value - low) / span) / (1 + 2 * ROOM) for value in values]

    x = scaled([x for x, _ in points.values()], WIDTH)
    y = scaled([-y for _, y in points.values()], HEIGHT)
    return dict(zip(points, zip(x, y, strict=True), strict=True))


def _box(place: tuple[float, float], text: str, side: str) -> Box:
    height, beside = side.split()
    x, y = place
    width = LETTER * len(text)
    left = {"right": x + AWAY, "left": x - AWAY - width, "center": x - width / 2}[beside]
    top = {"top": y - AWAY - LINE, "bottom": y + AWAY, "middle": y - LINE / 2}[height]
    return left, top, left + width, top + LINE


def _cost(box: Box, labels: Sequence[Box], points: Sequence[Box]) -> float:
    outside = box[0] < 0 or box[2] > WIDTH
    return (
        OUTSIDE * outside
        + ON_LABEL * sum(_meet(box, each) for each in labels)
        + ON_POINT * sum(_meet(box, each) for each in points)
    )


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
