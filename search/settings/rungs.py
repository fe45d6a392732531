"""How many prompts a candidate is evaluated on at a time: the rungs of a race, and the blocks that workers share.

Where there are several workers a task is cut into blocks of one size, so that all of them have some, and all batches
have one shape.
"""

from __future__ import annotations

SHARES = (0.25, 0.5)
"""Share of the prompts at each rung before the last."""
FEWEST = 8
"""Fewest prompts of a rung: fewer can't tell candidates apart."""
SMALLEST = 2
"""Prompts of a block, at least: a batch of one leaves a GPU idle."""


def rungs(n: int) -> tuple[int, ...]:
    """The number of prompts at each rung, cumulative; the last is n."""
    return (*sorted({part for share in SHARES if FEWEST <= (part := round(share * n)) < n}), n)


def steps(ends: tuple[int, ...]) -> tuple[int, ...]:
    """The prompts that each rung adds."""
    return tuple(end - begin for begin, end in zip((0, *ends), ends, strict=False))


def block(ends: tuple[int, ...], workers: int) -> int:
    """The prompts of a block, for rungs that end so: the largest size at which each worker has one of the baseline's,
    and that cuts the rungs into whole ones as far as that can be."""
    from freeu.batches import shape

    return shape(steps(ends), max(SMALLEST, ends[-1] // workers))


def cuts(ends: tuple[int, ...], workers: int, shared: bool = False) -> tuple[int, ...]:
    """Where the prompts are cut for several workers: at the rungs, and at each block. The last is n. shared: with other
    machines, too."""
    if workers == 1 and not shared:
        return ends[-1:]
    size, found = block(ends, workers), set(ends)
    for begin, end in zip((0, *ends), ends, strict=False):
        found |= set(range(begin + size, end, size))
    return tuple(sorted(found))
