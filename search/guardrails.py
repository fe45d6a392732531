"""Guardrails: does FreeU take the images further from no FreeU than the model's own differ from seed to seed?

The spread of a measure is its standard deviation between images of one prompt under two seeds, without FreeU. A
candidate's shift is the mean of its paired differences to no FreeU, in such spreads; beyond 1, either way, it is out of
bounds: no front and no pick holds it, and the sampler is told so as a constraint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from freeu import IDENTITY
from search.evaluate import Evaluation, Evaluator, OnImages
from search.records import StudyFolder, replacing

if TYPE_CHECKING:
    import pandas as pd

    from freeu import Factors

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


class Guarded:
    """Evaluates as `evaluator` does, whose metrics hold NAMES, and adds each candidate's shifts."""

    def __init__(self, evaluator: Evaluator, again: Evaluator, folder: StudyFolder) -> None:
        """again: the same prompts under other seeds, and no metrics but NAMES."""
        self._evaluator, self._again, self._folder = evaluator, again, folder
        self._base: pd.DataFrame | None = None

    def prepare(self, began: Callable[[int], None], on_images: OnImages) -> None:
        """Measures no FreeU under the other seeds, once a study."""
        if self._folder.guardrails.exists():
            return
        began(len(self._again.prompts))
        table = self._again(IDENTITY, on_images).per_image
        assert table is not None
        with replacing(self._folder.guardrails) as temporary:
            table.to_parquet(temporary)

    def __call__(self, factors: Factors, on_images: OnImages | None = None) -> Evaluation:
        """An evaluation with `guardrails`; empty where no FreeU was not scored yet."""
        from dataclasses import replace

        found = self._evaluator(factors, on_images)
        if factors.identity:
            self._base = found.per_image
        base = self._scored_base()
        if base is None or found.per_image is None:
            return found
        return replace(found, guardrails=shifts(found.per_image, base, self._other_seeds()))

    def _scored_base(self) -> pd.DataFrame | None:
        if self._base is None:
            records = (record for record in self._folder.read_trials() if record.complete and record.factors.identity)
            if (record := next(records, None)) is not None:
                self._base = self._folder.read_scores(record.number)
        return self._base

    def _other_seeds(self) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self._folder.guardrails)


def shifts(found: pd.DataFrame, base: pd.DataFrame, again: pd.DataFrame) -> dict[str, float]:
    """By guardrail: mean of found - base, in spreads between `base` and `again`. All three are in one order of prompts.

    A measure that doesn't differ from seed to seed at all, and is moved, counts as a shift of 1000.
    """
    moved = {}
    for name in NAMES:
        one, two = base[name].to_numpy(), again[name].to_numpy()
        spread = float(np.sqrt(np.mean((one - two) ** 2) / 2))
        shift = float(np.mean(found[name].to_numpy() - one))
        least = 1e-3 * abs(shift)
        moved[name] = shift / max(spread, least) if shift else 0.0
    return moved
