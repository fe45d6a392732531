"""The scene in an image, drawn again: near to true renders, and further from what is spoiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freeu.shapes import degrade
from freeu.shapes.attributes import ABSENT, SLOTS, labels
from freeu.shapes.draw import draw
from freeu.shapes.redraw import backgrounds, redrawn
from freeu.shapes.scene import BACKDROPS, TONES, Item, Scene, sample

N = 24


def rendered(scenes: list[Scene]) -> torch.Tensor:
    """float32 (n, 3, 64, 64) in 0..1."""
    return torch.stack([torch.from_numpy(draw(scene).copy()).permute(2, 0, 1) for scene in scenes]).float() / 255


def seen(scenes: list[Scene]) -> dict[str, torch.Tensor]:
    """A reader's answers that are all right; of objects that aren't there it names something all the same."""
    return {name: values.where(values != ABSENT, 1) for name, values in labels(scenes).items()}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = np.random.default_rng(1)
    return [sample(rng) for _ in range(N)]


@pytest.fixture(scope="module")
def renders(scenes: list[Scene]) -> torch.Tensor:
    return rendered(scenes)


def errors(images: torch.Tensor, scenes: list[Scene]) -> torch.Tensor:
    """(n,) levels of 255."""
    return 255 * (images - redrawn(images, seen(scenes))).abs().mean((1, 2, 3))


def test_true_renders_are_drawn_again_as_they_were(renders: torch.Tensor, scenes: list[Scene]) -> None:
    """Edges are a pixel wide where draw.py's are reduced by Lanczos: a level on average, no image more than 2.5."""
    found = errors(renders, scenes)
    assert found.mean() < 1.3 and found.max() < 2.5


def test_backgrounds_are_draw_s_own() -> None:
    found = backgrounds()
    for tone, name in enumerate(TONES):
        for place, backdrop in enumerate(BACKDROPS):
            drawn = rendered([Scene((), "alone", name, backdrop)])[0]
            far = 255 * (found[tone, place] - drawn).abs()
            assert far.mean() < 1, (name, backdrop)  # rounding, and what Lanczos makes of the edges of checks
            assert far.max() < 3.5, (name, backdrop)


def test_an_object_is_found_wherever_it_is() -> None:
    """Moved by parts of a pixel and grown, the drawing follows: what is left stays what it was."""
    scenes = [
        Scene((Item(shape, "red", "large", fill, x, 30 + x / 7, radius),), "alone", "light", "plain")
        for shape in ("circle", "square", "triangle")
        for fill in ("plain", "striped", "dotted")
        for x, radius in ((20.0, 11.5), (27.37, 12.1), (40.8, 12.5))
    ]
    assert errors(rendered(scenes), scenes).max() < 2


@pytest.mark.parametrize("spoil", [degrade.blur, degrade.ringing, degrade.banding, degrade.saturation])
def test_the_error_grows_with_what_spoils_it(spoil, renders: torch.Tensor, scenes: list[Scene]) -> None:
    little, much = (
        torch.stack([spoil(image, amount) for image in renders]).clamp(0, 1) if amount else renders
        for amount in (0.3, 0.8)
    )
    clean, some, more = (errors(images, scenes) for images in (renders, little, much))
    assert (some > clean).double().mean() > 0.95 and (more > some).double().mean() > 0.95


def test_noise_counts_as_much_as_there_is(renders: torch.Tensor, scenes: list[Scene]) -> None:
    """The mean of a normal's size is √(2/π) of its deviation: 0.05 is 10.2 levels."""
    draw = torch.Generator().manual_seed(0)
    noisy = renders + 0.05 * torch.randn(renders.shape, generator=draw)
    assert errors(noisy, scenes).mean().item() == pytest.approx(255 * 0.05 * (2 / np.pi) ** 0.5, rel=0.05)


def test_what_no_scene_has_is_counted(renders: torch.Tensor, scenes: list[Scene]) -> None:
    """A small picture of another scene, pasted into a corner, isn't taken for an object."""
    pasted = renders.clone()
    pasted[:, :, :12, :12] = torch.nn.functional.interpolate(renders.roll(1, 0), size=(12, 12), mode="area")
    assert (errors(pasted, scenes) > errors(renders, scenes) + 0.3).double().mean() > 0.9


def test_neither_the_order_nor_the_number_of_images_matters(renders: torch.Tensor, scenes: list[Scene]) -> None:
    whole = redrawn(renders, seen(scenes))
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    mixed = redrawn(renders[order], seen([scenes[place] for place in order]))
    torch.testing.assert_close(mixed, whole[order], rtol=0, atol=1e-3)
    torch.testing.assert_close(redrawn(renders[5:6], seen(scenes[5:6])), whole[5:6], rtol=0, atol=1e-3)


def test_images_of_anything_give_numbers() -> None:
    """Noise, one colour, black: whatever a reader sees in it, also no object at all where it should be."""
    draw = torch.Generator().manual_seed(0)
    images = torch.cat([torch.rand(9, 3, 64, 64, generator=draw), torch.zeros(9, 3, 64, 64), torch.ones(9, 3, 64, 64)])
    rng = np.random.default_rng(3)
    answers = seen([sample(rng) for _ in range(len(images))])
    answers["count"] = torch.arange(len(images)) % SLOTS
    assert torch.isfinite(redrawn(images, answers)).all()
