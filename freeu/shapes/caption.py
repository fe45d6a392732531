"""Words for a scene: a small grammar with several wordings for each thing, so that prompts are language."""

from __future__ import annotations

import numpy as np

from .scene import Item, Scene

SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big")}
FILL_WORDS = {"plain": ("", "", "plain"), "striped": ("striped",), "dotted": ("dotted", "spotted")}
FORWARD = {
    "left of": ("left of", "to the left of"),
    "above": ("above", "over"),
    "inside": ("inside", "within"),
}
BACKWARD = {"left of": ("right of", "to the right of"), "above": ("below", "under"), "inside": ("around",)}
ROW = {"left of": "from left to right", "above": "from top to bottom"}
BACKDROP_WORDS = {"plain": ("", "plain"), "gradient": ("gradient", "shaded"), "checkered": ("checkered",)}
OPENINGS = ("", "", "a picture of ")
MAX_TOKENS = 32
"""Longest caption in word tokens, the start and end marks included."""


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One wording of the scene, chosen by `rng`; every wording names every attribute that the reader reads."""
    names = [_name(item, rng) for item in scene.items]
    if len(names) == 1:
        what = _pick(rng, OPENINGS) + names[0]
    elif len(names) == 3:
        what = f"{names[0]}, {names[1]} and {names[2]} {ROW[scene.relation]}"
    elif rng.random() < 0.5:
        what = f"{_pick(rng, OPENINGS)}{names[0]} {_pick(rng, FORWARD[scene.relation])} {names[1]}"
    else:
        what = f"{_pick(rng, OPENINGS)}{names[1]} {_pick(rng, BACKWARD[scene.relation])} {names[0]}"
    behind = _words("a", scene.tone, _pick(rng, BACKDROP_WORDS[scene.backdrop]), "background")
    return f"{what} on {behind}"


def _name(item: Item, rng: np.random.Generator) -> str:
    return _words("a", _pick(rng, SIZE_WORDS[item.size]), _pick(rng, FILL_WORDS[item.fill]), item.colour, item.shape)


def _words(*words: str) -> str:
    return " ".join(word for word in words if word)


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[rng.integers(len(choices))]
