"""A generator whose factors raise an objective by an artefact, truly, or not at all: worlds of benchmarks/judges.py.

It draws the embedded model's scenes with mistakes, blur and noise. Each world names an objective and a change of the
image by a share of the factors' strength. Worlds were chosen by what they do to the objective and by how they are made,
never by a judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch.nn import functional as F

from freeu.models import load_spec
from freeu.shapes import degrade
from freeu.shapes.draw import draw
from freeu.shapes.scene import COLOURS, SHAPES, Scene
from metrics import registry
from metrics.base import Batch, Metric


@dataclass(frozen=True)
class Drawn:
    """One image of the generator. text: its prompt. share: of the factors' strength, 0 for FreeU off. before: without
    its noise, which has this amount. noise: another source of it.
    """

    text: str
    scene: Scene
    asked: Scene
    share: float
    before: torch.Tensor
    amount: float
    noise: np.random.Generator


def sharpened(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With halos round every edge."""
    return image + 4.5 * drawn.share * (image - degrade.blur(image, 0.4))


def saturated(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With colours burnt away from their grey."""
    grey = image.mean(dim=0, keepdim=True)
    return grey + (1 + 0.45 * drawn.share) * (image - grey)


def unblurred(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Nearer to a true render."""
    return drawn.share * _clean(drawn.scene) + (1 - drawn.share) * image


def corrected(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Of the mistakes a share is put right."""
    if drawn.scene == drawn.asked or drawn.noise.random() > 0.6 * drawn.share:
        return image
    return image + _clean(drawn.asked) - _clean(drawn.scene)


def washed(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With tones lifted towards white."""
    return image.clamp(0, 1) ** (1 - 0.3 * drawn.share)


def bleeding(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With colours that run over their edges."""
    grey = image.mean(dim=0, keepdim=True)
    return image + drawn.share * (degrade.blur(image - grey, 0.55) - (image - grey))


def vivid(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With colours burnt away from their grey, where there is any."""
    grey = image.mean(dim=0, keepdim=True)
    colour = image - grey
    return image + 0.6 * drawn.share * colour * (colour.abs().amax(dim=0, keepdim=True) > 0.1)


def denoised(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Nearer to what it was before its noise."""
    return drawn.share * drawn.before + (1 - drawn.share) * image


def otherwise(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With as much other noise, and neither better nor worse."""
    return degrade.noise(drawn.before, drawn.amount, drawn.noise) if drawn.share > 0 else image


def haloed(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """Sharper to the eye, with its noise enlarged: further from the true render than before."""
    return image + 3 * drawn.share * (image - degrade.blur(image, 0.1))


def pasted(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """With small pictures of what the prompt asks for drawn into its corners, those that clip likes best."""
    for _ in range(round(3 * drawn.share)):
        tried = [image, *(_with(image, *each) for each in _pictures(drawn.asked))]
        scores = _clip().score(Batch(torch.stack([levels(each) for each in tried]), (drawn.text,) * len(tried)))
        assert scores.per_image is not None
        image = tried[int(scores.per_image.argmax())]
    return image


Change = Callable[[torch.Tensor, Drawn], torch.Tensor]
WORLDS: dict[str, tuple[str, Change]] = {
    "artefact: over-sharpening for clip": ("clip", sharpened),
    "artefact: saturation for aesthetic": ("aesthetic", saturated),
    "true gain: less blur for aesthetic": ("aesthetic", unblurred),
    "true gain: fewer mistakes for clip": ("clip", corrected),
    "no gain: other noise, clip": ("clip", otherwise),
    "no gain: other noise, aesthetic": ("aesthetic", otherwise),
}
FRESH: dict[str, tuple[str, Change]] = {
    "artefact: washed-out tones for clip": ("clip", washed),
    "artefact: bleeding colours for clip": ("clip", bleeding),
    "artefact: vivid colours for aesthetic": ("aesthetic", vivid),
    "artefact: halos for aesthetic": ("aesthetic", haloed),
    "artefact: pictures drawn in for clip": ("clip", pasted),
    "true gain: less noise for aesthetic": ("aesthetic", denoised),
}


def drawn_image(seeds: list[int], text: str, asked: Scene, changed: Change, share: float) -> torch.Tensor:
    """uint8 (3, 64, 64). Under the same seeds mistakes, blur and noise are the same whatever the factors do."""
    rng = np.random.default_rng(seeds)
    scene = _mistaken(asked, rng)
    before, amount = degrade.blur(_clean(scene), 0.05 + 0.3 * rng.random()), 0.15 * rng.random()
    image = degrade.noise(before, amount, rng)
    image = changed(image, Drawn(text, scene, asked, share, before, amount, np.random.default_rng([*seeds, 1])))
    return levels(image)


def levels(image: torch.Tensor) -> torch.Tensor:
    """uint8, from 0..1."""
    return (image.clamp(0, 1) * 255).round().byte()


def _clean(scene: Scene) -> torch.Tensor:
    return torch.from_numpy(draw(scene).copy()).permute(2, 0, 1).float() / 255


def _mistaken(scene: Scene, rng: np.random.Generator) -> Scene:
    """With colours and shapes that were not asked for, as a model makes them."""
    items = list(scene.items)
    for place, item in enumerate(items):
        if rng.random() < 0.2:
            item = replace(item, colour=str(rng.choice(list(COLOURS))))
        items[place] = replace(item, shape=str(rng.choice(SHAPES))) if rng.random() < 0.1 else item
    return replace(scene, items=tuple(items))


def _pictures(scene: Scene) -> Iterator[tuple[torch.Tensor, int, int]]:
    """(picture (3, side, side), top, left): the scene and its objects, in three sizes and four corners."""
    whole = _clean(scene)
    parts = [whole]
    for item in scene.items:
        top, bottom, left, right = (
            int(min(max(place + way * 1.3 * item.radius, 0), whole.shape[1]))
            for place in (item.y, item.x)
            for way in (-1, 1)
        )
        parts.append(whole[:, top:bottom, left:right])
    for part in parts:
        for side in (6, 10, 14):
            small = F.interpolate(part[None], size=(side, side), mode="bilinear", antialias=True)[0]
            ends = (0, whole.shape[1] - side)
            yield from ((small, top, left) for top in ends for left in ends)


def _with(image: torch.Tensor, picture: torch.Tensor, top: int, left: int) -> torch.Tensor:
    found, side = image.clone(), picture.shape[1]
    found[:, top : top + side, left : left + side] = picture
    return found


@cache
def _clip() -> Metric:
    spec = load_spec("shapes")
    return registry.build("clip", spec.scorers, "cpu", spec.base, spec.reference)
