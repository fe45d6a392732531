"""Prompts for the embedded model: scenes that training never drew, and the answers that a reader should give.

`python -m freeu.shapes.prompts` writes configs/prompts/shapes.csv, the default prompt set of the embedded model.
"""

from __future__ import annotations

import csv
import io

import numpy as np

from .caption import caption
from .scene import Scene, sample

PROMPT_SEED, CARD_SEED = 11, 13
COUNT = 256
HELD_OUT_SHARE = 0.125


def prompts(count: int, seed: int, held_out: bool = False) -> list[tuple[str, Scene]]:
    """`count` different prompts, each with the scene it names."""
    rng = np.random.default_rng(seed)
    found: dict[str, Scene] = {}
    while len(found) < count:
        scene = sample(rng, held_out)
        found.setdefault(caption(scene, rng), scene)
    return list(found.items())


def category(scene: Scene) -> str:
    """What the prompt asks for: a pair that training lacks, three in a row, or the relation."""
    if scene.held_out:
        return "held-out pair"
    return "three in a row" if len(scene.items) == 3 else scene.relation


def as_csv() -> str:
    """The prompt set's file: one prompt a line with its category."""
    unseen = round(COUNT * HELD_OUT_SHARE)
    rows = prompts(COUNT - unseen, PROMPT_SEED) + prompts(unseen, PROMPT_SEED, held_out=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prompt", "category"])
    writer.writerows([prompt, category(scene)] for prompt, scene in rows)
    return text.getvalue()


if __name__ == "__main__":
    from configs import path

    path("prompts", "shapes.csv").write_text(as_csv(), "utf-8")
