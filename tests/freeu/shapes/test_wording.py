"""A caption read backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freeu.shapes.attributes import CLASSES, labels, right
from freeu.shapes.caption import caption
from freeu.shapes.scene import Scene, sample
from freeu.shapes.wording import scene_of


def test_every_caption_names_its_scene() -> None:
    rng = np.random.default_rng(0)
    scenes = [sample(rng, held_out=number % 8 == 0) for number in range(1000)]
    read = [scene_of(caption(scene, rng)) for scene in scenes]
    assert all(isinstance(each, Scene) for each in read)
    wanted, found = labels(scenes), labels([each for each in read if each is not None])
    assert all(torch.equal(wanted[name], found[name]) for name in CLASSES)


@pytest.mark.parametrize(
    "words",
    [
        *("", "a cat", "a big red circle", "a big mauve circle on a grey background"),
        "a big red circle left of a cat on a grey background",
        "a big red circle and a small red circle on a grey background",
    ],
)
def test_other_words_name_none(words: str) -> None:
    assert scene_of(words) is None


def test_the_share_that_is_right() -> None:
    """Of two objects, one has another colour; a third one that is seen makes the relation wrong."""
    scene = scene_of("a big red circle left of a small plain blue square on a grey background")
    assert scene is not None
    wanted = labels([scene])
    seen = {name: each.clone() for name, each in wanted.items()}
    assert {name: float(each) for name, each in right(seen, wanted).items()} == dict.fromkeys(
        ("object", "colour", "relation"), 1
    )
    seen["colour1"] += 1
    seen["count"] += 1
    assert {name: float(each) for name, each in right(seen, wanted).items()} == {
        "object": 0.5,
        "colour": 0.5,
        "relation": 0,
    }
    seen["count"] -= 2  # of the two, one is not there at all
    seen["colour1"] -= 1
    assert float(right(seen, wanted)["object"]) == 0.5
