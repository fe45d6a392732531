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


def right(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """By kind of attribute, the share (n,) of an image's answers that are right: `object` (shape and colour both),
    `colour`, and `relation` (1 where the count is right too, else 0). found, wanted: int64 (n,) by head.

    The reader names objects in reading order, so an object in the wrong place counts as wrong.
    """
    slots = torch.stack([wanted[f"shape{slot}"] != ABSENT for slot in range(SLOTS)])
    counted = torch.stack([found["count"] >= slot for slot in range(SLOTS)])  # the class of a count is one less

    def same(name: str) -> torch.Tensor:
        return torch.stack([found[f"{name}{slot}"] == wanted[f"{name}{slot}"] for slot in range(SLOTS)])

    def share(hits: torch.Tensor) -> torch.Tensor:
        return (hits & counted & slots).sum(0) / slots.sum(0)

    return {
        "object": share(same("shape") & same("colour")),
        "colour": share(same("colour")),
        "relation": ((found["relation"] == wanted["relation"]) & (found["count"] == wanted["count"])).double(),
    }
