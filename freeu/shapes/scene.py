"""What a scene is: one to three objects, how they lie to each other, and what is behind them.

Objects are kept in reading order (left to right, top to bottom, inner before outer), so that an image determines its
scene and an attribute reader can be asked for "the first object". The pairs of colour and shape in HELD_OUT never occur
in training; prompts with them measure whether the model composes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHAPES = ("circle", "square", "triangle")
COLOURS = {
    "red": (214, 39, 40),
    "orange": (250, 140, 20),
    "yellow": (245, 220, 50),
    "green": (44, 160, 60),
    "cyan": (40, 200, 215),
    "blue": (40, 80, 215),
    "purple": (130, 50, 180),
    "pink": (250, 130, 190),
}
SIZES = ("small", "large")
FILLS = ("plain", "striped", "dotted")
RELATIONS = ("alone", "left of", "above", "inside")
TONES = {"dark": (38, 40, 48), "grey": (128, 128, 132), "light": (232, 230, 224)}
BACKDROPS = ("plain", "gradient", "checkered")

HELD_OUT = frozenset({("purple", "triangle"), ("orange", "circle"), ("cyan", "square")})
"""Pairs (colour, shape) that no training scene contains."""


@dataclass(frozen=True)
class Item:
    """One object: what it is, and where it is drawn (centre and radius in pixels of a 64-pixel image)."""

    shape: str
    colour: str
    size: str
    fill: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Scene:
    """One to three objects in reading order, the relation that the first has to the next, and the background."""

    items: tuple[Item, ...]
    relation: str
    tone: str
    backdrop: str

    @property
    def held_out(self) -> bool:
        """Whether it shows a pair of colour and shape that training never saw."""
        return any((item.colour, item.shape) in HELD_OUT for item in self.items)


def sample(rng: np.random.Generator, held_out: bool = False) -> Scene:
    """A random scene. `held_out=False` never gives a held-out pair; `True` gives at least one."""
    while True:
        scene = _sample(rng)
        if scene.held_out == held_out:
            return scene


def _sample(rng: np.random.Generator) -> Scene:
    count = int(rng.choice([1, 2, 3], p=[0.25, 0.60, 0.15]))
    relation = "alone" if count == 1 else str(rng.choice(RELATIONS[1:3] if count == 3 else RELATIONS[1:]))
    colours = rng.permutation(list(COLOURS))[:count]
    items = tuple(
        Item(str(rng.choice(SHAPES)), str(colour), size, str(rng.choice(FILLS)), x, y, radius)
        for colour, (size, x, y, radius) in zip(colours, _places(rng, count, relation), strict=True)
    )
    return Scene(items, relation, str(rng.choice(list(TONES))), str(rng.choice(BACKDROPS)))


def _places(rng: np.random.Generator, count: int, relation: str) -> list[tuple[str, float, float, float]]:
    """(size, x, y, radius) of each object; distances are chosen so that neighbours never touch."""
    if relation == "inside":
        x, y = 32 + rng.uniform(-4, 4, 2)
        return [("small", x, y, rng.uniform(7.5, 8.5)), ("large", x, y, rng.uniform(20, 22))]
    sizes = ["small"] * 3 if count == 3 else [str(size) for size in rng.choice(SIZES, count)]
    radii = [rng.uniform(7.5, 8.5) if size == "small" else rng.uniform(11.5, 12.5) for size in sizes]
    if count == 1:
        places = [32 + rng.uniform(-8, 8, 2)]
    else:
        along = np.linspace(18, 46, 2) if count == 2 else np.linspace(11, 53, 3)
        across = 32 + rng.uniform(-6, 6)
        places = [
            np.array([a + rng.uniform(-1.5, 1.5), across + rng.uniform(-2, 2)])[:: 1 if relation == "left of" else -1]
            for a in along
        ]
    return [(size, p[0], p[1], r) for size, p, r in zip(sizes, places, radii, strict=True)]
