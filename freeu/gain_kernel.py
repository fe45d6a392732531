"""Version 2's amplification as two CUDA kernels: the mean over channels with its extremes, then the product in place.

`freeu.backbone` has the plain form, sixteen kernels. Whoever computes the means of a block of positions keeps
their extremes, too; whoever multiplies reads those of all blocks of its map. No two programs write the same place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from .kernel import TYPES

MEAN_TILE = 64, 32
"""Channels and positions that a program adds up at a time."""
TILE = 16, 256
"""Channels and positions, at most, that a program multiplies."""
LARGEST = 2048 * MEAN_TILE[1]
"""Positions of the largest map: each program reads the extremes of all its blocks."""


def fits(x: torch.Tensor) -> bool:
    """Whether the kernels can amplify x (n, c, H, W): each map's positions lie one behind the other."""
    return x.ndim == 4 and x.dtype in TYPES and x.stride()[2:] == (x.shape[3], 1) and x.shape[2] * x.shape[3] <= LARGEST


def probe(device: torch.device) -> None:
    """Runs the kernels once, for whatever they raise on this device."""
    amplify_(torch.ones(1, 1, 2, 2, device=device), torch.ones(1, device=device), [slice(0, 1)])


def amplify_(x: torch.Tensor, b: torch.Tensor, parts: Sequence[slice]) -> torch.Tensor:
    """Multiplies in place, by `freeu.backbone.gain`, the channels of x (n, c, H, W) in `parts`, which follow one
    another, round the end if need be; b is float32, (1,) or (n,), on x's device. Returns x.
    """
    n, channels, height, width = x.shape
    first, count = parts[0].start, sum(part.stop - part.start for part in parts)
    if not count or not x.numel():
        return x
    positions = height * width
    blocks = triton.cdiv(positions, MEAN_TILE[1])
    mean = torch.empty(n, positions, dtype=torch.float32, device=x.device)
    edges = torch.empty(n, 3, blocks, dtype=torch.float32, device=x.device)
    sizes = channels, positions, blocks
    _mean[(n, blocks)](x, mean, edges, *x.stride()[:2], *sizes, CHANNELS=MEAN_TILE[0], PLACES=MEAN_TILE[1])
    places = min(TILE[1], triton.next_power_of_2(positions))
    _amplify[(n, triton.cdiv(count, TILE[0]), triton.cdiv(positions, places))](
        x,
        mean,
        edges,
        b,
        *x.stride()[:2],
        int(len(b) > 1),
        *sizes,
        first,
        count,
        16 * torch.finfo(torch.float32).eps,
        CHANNELS=TILE[0],
        PLACES=places,
        BLOCKS=triton.next_power_of_2(blocks),
    )
    return x


@triton.jit
def _mean(  # type: ignore[no-untyped-def]
    x,
    mean,  # (n, positions)
    edges,  # (n, 3, blocks): the least mean of a block, the greatest, and the mean |x| at its first position
    of_sample,
    of_channel,
    channels,
    positions,
    blocks,
    CHANNELS: tl.constexpr,
    PLACES: tl.constexpr,
):
    sample, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    c, p = tl.arange(0, CHANNELS), block * PLACES + tl.arange(0, PLACES)
    inside = p < positions
    total = tl.zeros((CHANNELS, PLACES), tl.float32)
    size = tl.zeros((CHANNELS, PLACES), tl.float32)
    for begin in range(0, channels, CHANNELS):
        rows = begin + c
        places = x + sample * of_sample + rows.to(tl.int64)[:, None] * of_channel + p[None, :]
        read = tl.load(places, mask=(rows < channels)[:, None] & inside[None, :], other=0.0).to(tl.float32)
        total += read
        size += tl.abs(read)
    means, sizes = tl.sum(total, axis=0) / channels, tl.sum(size, axis=0) / channels
    tl.store(mean + sample * positions + p, means, mask=inside)
    at = edges + sample * 3 * blocks + block
    tl.store(at, tl.min(tl.where(inside, means, float("inf")), axis=0))
    tl.store(at + blocks, tl.max(tl.where(inside, means, float("-inf")), axis=0))
    tl.store(at + 2 * blocks, tl.sum(tl.where(p == block * PLACES, sizes, 0.0), axis=0))


@triton.jit
def _amplify(  # type: ignore[no-untyped-def]
    x,
    mean,
    edges,
    b,
    of_sample,
    of_channel,
    of_b,
    channels,
    positions,
    blocks,
    first,  # channel of the window
    count,  # of its channels
    rounding,  # relative to the mean |x|: a smaller span is that of a constant map
    CHANNELS: tl.constexpr,
    PLACES: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    sample = tl.program_id(0).to(tl.int64)
    k, p = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS), tl.program_id(2) * PLACES + tl.arange(0, PLACES)
    inside, block = p < positions, tl.arange(0, BLOCKS)
    at = edges + sample * 3 * blocks
    low = tl.min(tl.load(at + block, mask=block < blocks, other=float("inf")), axis=0)
    high = tl.max(tl.load(at + blocks + block, mask=block < blocks, other=float("-inf")), axis=0)
    size = tl.load(at + 2 * blocks)
    span = high - low
    m = (tl.load(mean + sample * positions + p, mask=inside, other=0.0) - low) / tl.where(
        span > rounding * size, span, float("inf")
    )
    factor = (tl.load(b + sample * of_b) - 1) * m + 1
    rows = ((first + k) % channels).to(tl.int64)
    places = x + sample * of_sample + rows[:, None] * of_channel + p[None, :]
    mask = (k < count)[:, None] & inside[None, :]
    read = tl.load(places, mask=mask, other=0.0)
    tl.store(places, (read.to(tl.float32) * factor[None, :]).to(read.dtype), mask=mask)
