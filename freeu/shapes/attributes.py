"""What a scene's image shows, as class indices: the labels that the reader and the feature network learn."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .scene import BACKDROPS, COLOURS, FILLS, RELATIONS, SHAPES, SIZES, TONES, Scene

SLOTS = 3
PER_SLOT = {"shape": SHAPES, "colour": tuple(COLOURS), "size": SIZES, "fill": FILLS}
WHOLE = {"count": (1, 2, 3), "relation": RELATIONS, "tone": tuple(TONES), "backdrop": BACKDROPS}
CLASSES: dict[str, int] = {
    **{name: len(values) for name, values in WHOLE.items()},
    **{f"{name}{slot}": len(values) for slot in range(SLOTS) for name, values in PER_SLOT.items()},
}
"""Number of classes by head: 4 of the whole image, 4 of each of three objects in reading order."""
ABSENT = -1
"""The label of an object that a scene does not have; losses and accuracies pass over it."""


def labels(scenes: Sequence[Scene]) -> dict[str, torch.Tensor]:
    """int64 (n,) by head."""
    rows = [_row(scene) for scene in scenes]
    return {name: torch.tensor([row[name] for row in rows]) for name in CLASSES}


def _row(scene: Scene) -> dict[str, int]:
    row = {
        "count": len(scene.items) - 1,
        "relation": RELATIONS.index(scene.relation),
        "tone": list(TONES).index(scene.tone),
        "backdrop": BACKDROPS.index(scene.backdrop),
    }
    for slot in range(SLOTS):
        for name, values in PER_SLOT.items():
            here = slot < len(scene.items)
            row[f"{name}{slot}"] = values.index(getattr(scene.items[slot], name)) if here else ABSENT
    return row
