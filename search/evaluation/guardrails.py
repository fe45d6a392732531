"""Guardrails: does FreeU take the images further from the baseline than the model's own differ from seed to seed?

The spread of a measure is its standard deviation between images of one prompt under two seeds, without FreeU. A
candidate's shift is the mean of its paired differences to the baseline, in such spreads. Beyond 1, either way, the
candidate is out of bounds: it can be on no front and be no pick, and the sampler gets the shift as a constraint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from freeu import IDENTITY, Candidate
from search.evaluation.evaluator import Evaluation, Task
from search.storage import StudyFolder
from search.storage.files import replacing

if TYPE_CHECKING:
    import pandas as pd

NAMES = (
    "colourfulness",
    "saturation",
    "clipping",
    "luma",
    "contrast",
    "spectral_slope",
    "high_band",
    "sharpness",
)
"""Those that bound a candidate, of `metrics.guardrails`."""
OF_VIDEOS = (*NAMES, "motion")
"""A still picture scores best in all that is asked of videos, so what stands still is out of bounds."""


def spread(folder: StudyFolder, n: int, measure: Callable[[Task], Evaluation]) -> pd.DataFrame:
    """The guardrail measures of the baseline under other seeds on the n prompts; measured once per study."""
    import pandas as pd

    if not folder.guardrails.exists():
        table = measure(Task(Candidate(IDENTITY), n, purpose="guardrails")).per_image
        assert table is not None
        with replacing(folder.guardrails) as temporary:
            table.to_parquet(temporary)
    return pd.read_parquet(folder.guardrails)


def shifts(
    found: pd.DataFrame, base: pd.DataFrame, again: pd.DataFrame, whole: pd.DataFrame | None = None
) -> dict[str, float]:
    """By guardrail: mean of found - base, in spreads between `base` and `again`. All are in one order of prompts;
    `found` may hold the first ones alone. whole: what differs from `again` by the seeds alone, where `base` was made
    with fewer steps.

    A measure that doesn't differ from seed to seed at all, and is moved, counts as a shift of 1000.
    """
    moved = {}
    for name in (name for name in OF_VIDEOS if name in found and name in again):
        spread = spread_of((base if whole is None else whole)[name].to_numpy(), again[name].to_numpy())
        shift = float(np.mean(found[name].to_numpy() - base[name].to_numpy()[: len(found)]))
        least = 1e-3 * abs(shift)
        moved[name] = shift / max(spread, least) if shift else 0.0
    return moved


def spread_of(one: np.ndarray, two: np.ndarray) -> float:
    """The standard deviation between seeds, of a measure of the same prompts under two of them."""
    return float(np.sqrt(np.mean((one - two) ** 2) / 2))
