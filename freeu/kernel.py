"""The skip filter as one CUDA kernel: each map is read once and written once. `freeu.filter` has the plain form.

For the paper's box of half-width 1 the waves are products of 1, cos and sin along rows and columns, so a map's nine
products with them are all that has to be known of it. A program holds a whole map in registers; no two share one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import triton
import triton.language as tl

LARGEST = 128 * 128
"""Positions of the largest map that a program holds, its sides rounded up to powers of two."""


TYPES = (torch.float16, torch.bfloat16, torch.float32)


def fits(x: torch.Tensor, threshold: int) -> bool:
    """Whether the kernel can filter x (n, d, H, W)."""
    height, width = x.shape[-2:]
    if x.ndim != 4 or threshold != 1 or x.dtype not in TYPES or x.stride(-1) != 1 or min(height, width) < 2:
        return False
    room = triton.next_power_of_2(height) * triton.next_power_of_2(width)
    return room <= LARGEST


def probe(device: torch.device) -> None:
    """Runs the kernel once, for whatever it raises on this device."""
    one = torch.ones(1, device=device)
    skip_filter_(torch.zeros(1, 1, 2, 2, device=device), one, one, False)


def skip_filter_(x: torch.Tensor, scale: torch.Tensor, high: torch.Tensor, symmetric: bool) -> torch.Tensor:
    """Filters x (n, d, H, W) in place; scale and high are float32, (1,) or (n,), on x's device. Returns x."""
    n, d, height, width = x.shape
    rows, columns = triton.next_power_of_2(height), triton.next_power_of_2(width)
    _filter[(n * d,)](
        x,
        scale,
        high,
        _waves(height, x.device),
        _waves(width, x.device),
        *x.stride()[:3],
        int(len(scale) > 1),
        int(len(high) > 1),
        d,
        height,
        width,
        0.5 if symmetric else 1.0,
        0.5 if symmetric else 0.0,
        ROWS=rows,
        COLUMNS=columns,
        num_warps=max(1, min(16, rows * columns // 512)),
    )
    return x


@lru_cache(maxsize=64)
def _waves(side: int, device: torch.device) -> torch.Tensor:
    """(2, side): one period of the cosine and of the sine along a side."""
    with torch.inference_mode(False):
        phase = 2 * math.pi / side * torch.arange(side, dtype=torch.float64)
        return torch.stack([phase.cos(), phase.sin()]).float().to(device)


@triton.jit
def _filter(  # type: ignore[no-untyped-def]
    x,
    scale,
    high,
    row_waves,
    column_waves,
    of_sample,
    of_channel,
    of_row,
    of_scale,
    of_high,
    channels,
    height,
    width,
    diagonal,  # weight of the waves ±(1, 1)
    crossing,  # weight of the waves ±(1, -1)
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    program = tl.program_id(0)
    sample, channel = program // channels, program % channels
    i, j = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (i < height)[:, None] & (j < width)[None, :]
    places = x + sample.to(tl.int64) * of_sample + channel.to(tl.int64) * of_channel + i[:, None] * of_row + j[None, :]
    read = tl.load(places, mask=inside, other=0.0)
    map = read.to(tl.float32)
    s = tl.load(scale + sample * of_scale)
    h = tl.load(high + sample * of_high)

    row_cos = tl.load(row_waves + i, mask=i < height, other=0.0)
    row_sin = tl.load(row_waves + height + i, mask=i < height, other=0.0)
    column_cos = tl.load(column_waves + j, mask=j < width, other=0.0)
    column_sin = tl.load(column_waves + width + j, mask=j < width, other=0.0)
    flat = tl.sum(map, axis=1)
    with_cos = tl.sum(map * column_cos[None, :], axis=1)
    with_sin = tl.sum(map * column_sin[None, :], axis=1)
    # Products of the map with (row wave) x (column wave): p, c and s stand for plain, cosine and sine.
    pp, pc, ps = tl.sum(flat, axis=0), tl.sum(with_cos, axis=0), tl.sum(with_sin, axis=0)
    cp, cc, cs = tl.sum(flat * row_cos, axis=0), tl.sum(with_cos * row_cos, axis=0), tl.sum(with_sin * row_cos, axis=0)
    sp, sc, ss = tl.sum(flat * row_sin, axis=0), tl.sum(with_cos * row_sin, axis=0), tl.sum(with_sin * row_sin, axis=0)

    # ±(1, 1) spans cos(a + b) and sin(a + b), ±(1, -1) the differences: opened into the same nine products.
    even, odd = diagonal * (cc - ss), diagonal * (sc + cs)
    even_crossing, odd_crossing = crossing * (cc + ss), crossing * (sc - cs)
    in_flat = pp + cp * row_cos + sp * row_sin
    in_cos = pc + (even + even_crossing) * row_cos + (odd + odd_crossing) * row_sin
    in_sin = ps + (odd - odd_crossing) * row_cos + (even_crossing - even) * row_sin
    low = in_flat[:, None] + in_cos[:, None] * column_cos[None, :] + in_sin[:, None] * column_sin[None, :]
    low = low * ((s - h) / (height * width))
    tl.store(places, (map * h + low).to(read.dtype), mask=inside)
