"""Analysis by synthesis: the scene that an image shows, drawn again as it should look.

The attribute reader names what is there. Where and how large each object is, and where its stripes or dots lie, is
fitted to the pixels: from the moments of each object's colour by steps of Gauss and Newton's. What freeu/shapes/draw.py
draws one by one is drawn here for all images at once, with edges one pixel wide: of true renders within a level of 255.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from .attributes import SLOTS
from .draw import SIZE
from .scene import BACKDROPS, COLOURS, FILLS, RELATIONS, TONES

STEPS = 2
"""More lower the error of true renders by less than 1 %."""
DAMPING = 1e-2
FURTHEST = 1.5
"""Pixels that a step may go."""
NUDGE = 0.25
"""Pixels, for derivatives."""
SHADE = 0.5
"""Of an object's colour, in its stripes and dots."""
PEN = 5 / 3
"""Half a stripe's width, and a dot's radius, in pixels."""
PERIOD, ROW = 6, 5
"""Pixels from stripe to stripe and from dot to dot, and from a row of dots to the next, which is half a period off."""
AREAS = (math.pi, 1.8**2, 0.75 * math.sqrt(3) * 1.3**2)
"""Of a circle, a square, a triangle, in squares of its radius."""
DROPS = (0.0, 0.0, 0.325)
"""How far below its place the centre of mass of each lies, in radii."""


@dataclass(frozen=True)
class Objects:
    """Up to SLOTS objects of n images, an inner one before the one around it.

    shown: bool (n, SLOTS). shape, fill: int64 (n, SLOTS). colour: (n, SLOTS, 3) in 0..1. place: (n, SLOTS, 3) x, y and
    radius in pixels. phase: (n, SLOTS, 2) x and y of the centre of a dot or stripe.
    """

    shown: torch.Tensor
    shape: torch.Tensor
    fill: torch.Tensor
    colour: torch.Tensor
    place: torch.Tensor
    phase: torch.Tensor


def redrawn(images: torch.Tensor, seen: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The clean drawing of the scene in each image, float32 (n, 3, SIZE, SIZE) in 0..1 as the images are.

    seen: the attribute reader's answers, int64 (n,) by head, on the images' device.
    """

    def slots(name: str) -> torch.Tensor:
        return torch.stack([seen[f"{name}{slot}"] for slot in range(SLOTS)], 1)

    behind = backgrounds().to(images)[seen["tone"], seen["backdrop"]]
    colour = (torch.tensor([*COLOURS.values()]).to(images) / 255)[slots("colour")]
    shown = torch.arange(SLOTS).to(seen["count"]) <= seen["count"][:, None]
    start = torch.zeros_like(colour)
    objects = Objects(shown, slots("shape"), slots("fill"), colour, start, start[..., :2])
    objects = _found(images, behind, objects, seen["relation"] == RELATIONS.index("inside"))
    for _ in range(STEPS):
        objects = _moved(images, behind, objects)
    return _drawn(behind, objects)[0]


def backgrounds() -> torch.Tensor:
    """(tones, backdrops, 3, SIZE, SIZE) in 0..1."""
    y, x = torch.meshgrid(*[(torch.arange(SIZE) + 0.5) / SIZE] * 2, indexing="ij")
    shifts = {
        "plain": 0 * x,
        "gradient": 80 * (y - 0.5),
        "checkered": 13 * (2 * ((x * 8).floor() + (y * 8).floor()).remainder(2) - 1),
    }
    tones = torch.tensor([*TONES.values()])[:, None, :, None, None]
    return ((tones + torch.stack([shifts[name] for name in BACKDROPS])[:, None]) / 255).clamp(0, 1)


def _grid(like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y of each pixel's centre."""
    ticks = (torch.arange(SIZE) + 0.5).to(like)
    return ticks[None, :], ticks[:, None]


def _chosen(kinds: list[torch.Tensor], which: torch.Tensor) -> torch.Tensor:
    """(n, SLOTS, SIZE, SIZE): of each object the one that `which` (n, SLOTS) names."""
    stacked = torch.stack(torch.broadcast_tensors(*kinds))
    return stacked.gather(0, which[None, :, :, None, None].expand(1, *stacked.shape[1:]))[0]


def _found(images: torch.Tensor, behind: torch.Tensor, objects: Objects, inside: torch.Tensor) -> Objects:
    """The objects where their colours are, by which of the scene's colours each pixel is nearest to."""
    ideal = torch.stack([objects.colour, SHADE * objects.colour], 2)[..., None, None]
    far = (images[:, None, None] - ideal).square().sum(3)
    far[:, :, 1].masked_fill_((objects.fill == FILLS.index("plain"))[..., None, None], torch.inf)
    far = far.amin(2).masked_fill(~objects.shown[..., None, None], torch.inf)
    nearest = torch.cat([far, (images - behind).square().sum(1, keepdim=True)], 1).argmin(1)
    mine = torch.stack([nearest == slot for slot in range(SLOTS)], 1).to(images)
    mine = mine * (F.avg_pool2d(mine, 5, 1, 2) > 0.5)  # mixed colours, at the edges of others, are thin
    mine[:, 1] += mine[:, 0] * inside[:, None, None]

    x, y = _grid(images)
    count = mine.sum((2, 3)).clamp(min=1)
    area, drop = (torch.tensor(values).to(images)[objects.shape] for values in (AREAS, DROPS))
    radius = (count / area).sqrt().clamp(min=3)
    middle = (mine * x).sum((2, 3)) / count, (mine * y).sum((2, 3)) / count - drop * radius
    return _phased(images, replace(objects, place=torch.stack([*middle, radius], -1)))


def _phased(images: torch.Tensor, objects: Objects) -> Objects:
    """Stripes and dots where the image has them, by the phases of their first waves within each object."""
    masks = _masks(objects)
    masks = torch.cat([masks[:, :1], masks[:, 1:] * (1 - masks[:, :1])], 1)
    size = objects.colour.square().sum(-1)[..., None, None]
    bright = torch.einsum("nchw,nsc->nshw", images, objects.colour) / size
    mean = (masks * bright).sum((2, 3), keepdim=True) / masks.sum((2, 3), keepdim=True).clamp(min=1)
    dark = masks * (mean - bright)
    x, y = _grid(images)

    def phase(across: float, down: float) -> torch.Tensor:
        turn = 2 * math.pi * (across * x + down * y)
        return torch.atan2((dark * turn.sin()).sum((2, 3)), (dark * turn.cos()).sum((2, 3))) / (2 * math.pi)

    one, two = (phase(1 / PERIOD, way / (2 * ROW)) for way in (-1, 1))
    dotted = torch.stack([PERIOD / 2 * (one + two), ROW * (two - one)], -1)
    striped = torch.stack([torch.zeros_like(one), PERIOD * phase(0, 1 / PERIOD)], -1)
    return replace(objects, phase=torch.where((objects.fill == FILLS.index("dotted"))[..., None], dotted, striped))


def _masks(objects: Objects) -> torch.Tensor:
    """(n, SLOTS, SIZE, SIZE): how much of each pixel an object covers, whatever lies on it."""
    grid, (x, y, r) = _grid(objects.place), objects.place[..., None, None].unbind(2)
    dx, dy = grid[0] - x, grid[1] - y
    low, along = dy - DROPS[2] * r, math.sqrt(0.75) * dx.abs()
    circle = r - torch.sqrt(dx.square() + dy.square())
    square = 0.9 * r - torch.maximum(dx.abs(), dy.abs())
    triangle = 0.65 * r - torch.maximum(low, along - 0.5 * low)
    return (0.5 + _chosen([circle, square, triangle], objects.shape)).clamp(0, 1) * objects.shown[..., None, None]


def _paint(objects: Objects) -> torch.Tensor:
    """(n, SLOTS, 3, SIZE, SIZE): each object's colour with its stripes or dots."""
    grid, (x, y) = _grid(objects.phase), objects.phase[..., None, None].unbind(2)
    dx, dy = grid[0] - x, grid[1] - y
    half = PERIOD / 2
    striped = ((dy + half).remainder(PERIOD) - half).abs()
    row = (dy / ROW + 0.5).floor()
    along = (dx - half * row.remainder(2) + half).remainder(PERIOD) - half
    dotted = torch.sqrt((dy - ROW * row).square() + along.square())
    far = _chosen([torch.full_like(dotted, torch.inf), striped, dotted], objects.fill)
    shade = (0.5 + PEN - far).clamp(0, 1)
    return objects.colour[..., None, None] * (1 - (1 - SHADE) * shade)[:, :, None]


def _drawn(behind: torch.Tensor, objects: Objects) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The drawing, and of each slot how it changes with that object's mask: all (n, 3, SIZE, SIZE)."""
    paint, masks = _paint(objects), _masks(objects)[:, :, None]
    gains: list[torch.Tensor] = []
    for slot in reversed(range(SLOTS)):
        gains = [paint[:, slot] - behind, *(gain * (1 - masks[:, slot]) for gain in gains)]
        behind = behind + masks[:, slot] * gains[0]
    return behind, gains


def _moved(images: torch.Tensor, behind: torch.Tensor, objects: Objects) -> Objects:
    """One step of Gauss and Newton's, of the places of all objects together."""
    drawn, gains = _drawn(behind, objects)
    rows = []
    for way in NUDGE * torch.eye(3).to(images):
        ahead, back = (_masks(replace(objects, place=objects.place + side * way)) for side in (1, -1))
        slope = (ahead - back)[:, :, None] / (2 * NUDGE)
        rows += [(gain * slope[:, slot]).flatten(1) for slot, gain in enumerate(gains)]
    jacobian = torch.stack(rows, 1)
    normal = jacobian @ jacobian.mT + DAMPING * torch.eye(len(rows)).to(images)
    step = torch.linalg.solve(normal, jacobian @ (images - drawn).flatten(1)[..., None])
    step = step.reshape(-1, 3, SLOTS).mT.clamp(-FURTHEST, FURTHEST)
    return _phased(images, replace(objects, place=objects.place + step))
