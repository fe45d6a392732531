"""Scenes, their captions and their degradations: what is drawn is what is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs import path
from freeu.shapes import caption as words
from freeu.shapes.attributes import ABSENT, CLASSES, labels
from freeu.shapes.degrade import KINDS, degrade
from freeu.shapes.draw import SIZE, draw
from freeu.shapes.prompts import as_csv, prompts
from freeu.shapes.scene import COLOURS, HELD_OUT, TONES, Item, Scene, sample


def scenes(count: int, seed: int = 0, held_out: bool = False) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample(rng, held_out) for _ in range(count)]


def test_training_scenes_never_hold_a_held_out_pair() -> None:
    seen = {(item.colour, item.shape) for scene in scenes(2000) for item in scene.items}
    assert not seen & HELD_OUT
    assert len(seen) == 8 * 3 - len(HELD_OUT)


def test_held_out_scenes_always_hold_one() -> None:
    assert all(scene.held_out for scene in scenes(100, held_out=True))


@pytest.mark.parametrize(("relation", "axis"), [("left of", "x"), ("above", "y")])
def test_items_are_in_reading_order_and_apart(relation: str, axis: str) -> None:
    for scene in scenes(500):
        if scene.relation == relation:
            places = [getattr(item, axis) for item in scene.items]
            assert places == sorted(places)
            assert min(np.diff(places)) > 15


def test_an_inner_object_lies_within_the_outer_one() -> None:
    nested = [scene for scene in scenes(500) if scene.relation == "inside"]
    assert nested
    for scene in nested:
        inner, outer = scene.items
        assert (inner.x, inner.y) == (outer.x, outer.y)
        assert inner.radius < outer.radius / 2


def test_every_object_is_inside_the_picture() -> None:
    for scene in scenes(500):
        for item in scene.items:
            assert item.x - 0.9 * item.radius >= 0 and item.x + 0.9 * item.radius <= SIZE
            assert item.y - 0.9 * item.radius >= 0 and item.y + 0.9 * item.radius <= SIZE


def test_draw_paints_the_named_colours_where_they_belong() -> None:
    red = Item("circle", "red", "large", "plain", 18, 32, 12)
    blue = Item("square", "blue", "small", "plain", 46, 32, 8)
    image = draw(Scene((red, blue), "left of", "dark", "plain"))
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    np.testing.assert_allclose(image[32, 18], COLOURS["red"], atol=2)
    np.testing.assert_allclose(image[32, 46], COLOURS["blue"], atol=2)
    np.testing.assert_allclose(image[2, 2], TONES["dark"], atol=2)
    # Antialiased: along the edge of the circle some pixels lie between the two colours.
    assert ((image[..., 0] > 60) & (image[..., 0] < 190)).sum() > 20


def test_a_circle_covers_its_area() -> None:
    image = draw(Scene((Item("circle", "red", "large", "plain", 32, 32, 12),), "alone", "dark", "plain"))
    # Pi r^2 = 452 pixels; drawn at threefold size the edge is off by at most a third of a pixel, 25 pixels in all.
    assert abs((image[..., 0] > 126).sum() - np.pi * 12**2) < 26


@pytest.mark.parametrize("fill", ["striped", "dotted"])
def test_textured_fills_show_two_shades(fill: str) -> None:
    image = draw(Scene((Item("square", "red", "large", fill, 32, 32, 12),), "alone", "light", "plain"))
    inside = image[24:40, 24:40, 0].astype(int)
    assert (inside < 140).mean() > 0.1 and (inside > 180).mean() > 0.1


def test_captions_name_every_attribute() -> None:
    rng = np.random.default_rng(1)
    for scene in scenes(300):
        text = words.caption(scene, rng)
        assert scene.tone in text
        for item in scene.items:
            assert f"{item.colour} {item.shape}" in text
            assert any(word in text for word in words.SIZE_WORDS[item.size])
            if item.fill != "plain":
                assert any(word in text for word in words.FILL_WORDS[item.fill])


def test_a_reversed_wording_swaps_the_objects() -> None:
    first, second = (
        Item("circle", "red", "small", "plain", 18, 32, 8),
        Item("square", "blue", "small", "plain", 46, 32, 8),
    )
    scene = Scene((first, second), "left of", "dark", "plain")
    rng = np.random.default_rng(0)
    wordings = {words.caption(scene, rng) for _ in range(200)}
    assert len(wordings) > 20
    for text in wordings:
        assert (text.index("red circle") < text.index("blue square")) == ("left of" in text)


def test_labels() -> None:
    sample_scenes = scenes(200)
    truth = labels(sample_scenes)
    assert set(truth) == set(CLASSES)
    alone = torch.tensor([len(scene.items) == 1 for scene in sample_scenes])
    assert (truth["shape1"][alone] == ABSENT).all() and (truth["shape0"] != ABSENT).all()


@pytest.mark.parametrize("kind", list(KINDS))
def test_more_of_a_degradation_is_further_from_the_image(kind: str) -> None:
    images = torch.from_numpy(np.stack([draw(scene) for scene in scenes(16)])).permute(0, 3, 1, 2).float() / 255
    means = []
    for amount in (0.1, 0.4, 0.7, 1.0):
        rng = np.random.default_rng(0)
        spoilt = torch.stack([KINDS[kind](image, amount, rng).clamp(0, 1) for image in images])
        means.append((spoilt - images).square().mean().item())
    assert means == sorted(means) and means[0] > 0


def test_an_amount_of_zero_leaves_the_image_alone() -> None:
    images = torch.from_numpy(np.stack([draw(scene) for scene in scenes(4)])).permute(0, 3, 1, 2)
    assert torch.equal(degrade(images, np.zeros(4), np.random.default_rng(0)), images)


def test_the_prompt_set_on_disk_is_the_one_that_the_code_makes() -> None:
    assert path("prompts", "shapes.csv").read_text("utf-8") == as_csv()


def test_prompts_are_different_and_fit_the_encoder() -> None:
    found = [prompt for prompt, _ in prompts(300, seed=5)]
    assert len(set(found)) == 300
    # One token a word or comma, and the two marks.
    assert max(len(text.replace(",", " ,").split()) + 2 for text in found) <= words.MAX_TOKENS
