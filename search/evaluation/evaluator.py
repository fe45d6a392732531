"""Evaluates a candidate: generate, then score. Knows neither Optuna nor MLflow.

A candidate may be evaluated in parts: a task names the last prompt, and carries the results on those before.
search/evaluation/extrapolation.py estimates the scores on all prompts from those on a part.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import UserError
from freeu import Factors
from search.evaluation.interrupts import Stopping
from search.evaluation.peak_memory import Peak
from search.settings.prompts import check_enough
from search.storage.trial_record import Value

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from freeu.generate import Generator
    from metrics.base import Batch, Metric
    from search.evaluation.score_cache import Cache, Found

OnImages = Callable[[float], None]
"""Told how many images of a task are done, after each step; those in flight count by their share of steps."""


@dataclass(frozen=True)
class Evaluation:
    """A candidate's results on the first n prompts. values: for all prompts; estimated, if n is a part of them.

    per_image: columns prompt, seed, then one for each metric that has such scores. features: by metric of the set,
    (n, d), of videos one row for each frame. images: uint8, of this part alone; see `search.storage.image_grid.small`.
    """

    values: dict[str, Value]
    n: int
    per_image: pd.DataFrame | None = None
    features: dict[str, np.ndarray] = field(default_factory=dict)
    images: torch.Tensor | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    unet_evaluations: int = 0
    peak_memory: int = 0  # bytes


@dataclass(frozen=True)
class Task:
    """Evaluate a candidate on the prompts up to `end`.

    before: its results on the first ones. base: the baseline's on all. purpose: which prompts and seeds, as "search" or
    "confirm".
    """

    factors: Factors
    end: int
    before: Evaluation | None = None
    base: Evaluation | None = None
    purpose: str = "search"

    @property
    def begin(self) -> int:
        return self.before.n if self.before is not None else 0


class Evaluator:
    """Evaluates candidates on one list of prompts and seeds, the same for all of them."""

    def __init__(
        self,
        generator: Generator,
        metrics: Mapping[str, Metric],
        prompts: Sequence[str],
        seeds: Sequence[int],
        cache: Cache | None = None,
    ) -> None:
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds")
        self.generator, self.metrics = generator, dict(metrics)
        self.prompts, self.seeds, self.cache = tuple(prompts), tuple(seeds), cache
        for name, metric in self.metrics.items():
            check_enough(name, metric.min_n, len(self.prompts))

    @property
    def frames(self) -> int:
        """Of each video; an image is one."""
        return getattr(self.generator, "frames", 1)

    def __call__(self, task: Task, on_images: OnImages | None = None) -> Evaluation:
        """Generate and score. Raises what the generator or a metric raises; Ctrl-C ends it after a step."""
        from search.storage.image_grid import small

        began, peak = time.perf_counter(), Peak()
        rows = list(range(task.begin, task.end))
        known = self._known(task.factors, rows)
        missing = [row for row, found in zip(rows, known, strict=True) if found is None]
        images = self.images(task.factors, missing, on_images) if missing else None
        generated = time.perf_counter()
        if images is not None:
            self._scored(task.factors, missing, images, known, rows)
        before = task.before or Evaluation({}, 0)
        columns = {name: self._stacked(name, known) for name in self.metrics}
        table = self._table(rows, {name: columns[name] for name in self._named(True)}, before.per_image)
        features = {
            name: _joined(before.features.get(name), columns[name].reshape(len(rows) * self.frames, -1))
            for name in self._named(False)
        }
        values = {name: value_of(metric, table, features, task.base) for name, metric in self.metrics.items()}
        ended = time.perf_counter()
        seconds = {"generate": generated - began, "score": ended - generated, "total": ended - began}
        return Evaluation(
            values,
            task.end,
            table,
            features,
            small(images) if images is not None else None,
            {name: spent + before.seconds.get(name, 0.0) for name, spent in seconds.items()},
            before.unet_evaluations + self.generator.unet_evaluations(len(missing)),
            max(before.peak_memory, peak.bytes()),
        )

    def images(self, factors: Factors, rows: Sequence[int], on_images: OnImages | None = None) -> torch.Tensor:
        """Of some of the prompts: uint8 (n, 3, H, W) or, of videos, (n, frames, 3, H, W)."""
        with Stopping() as stopping:

            def step(done: float) -> None:
                stopping.check()
                if on_images is not None:
                    on_images(done)

            return self.generator.generate(*self._of(rows), factors, step)

    def _of(self, rows: Sequence[int]) -> tuple[list[str], list[int]]:
        return [self.prompts[row] for row in rows], [self.seeds[row] for row in rows]

    def _named(self, per_image: bool) -> list[str]:
        return [name for name, metric in self.metrics.items() if metric.per_image is per_image]

    def _known(self, factors: Factors, rows: Sequence[int]) -> list[Found | None]:
        return [None] * len(rows) if self.cache is None else self.cache.read(factors, *self._of(rows))

    def _scored(
        self, factors: Factors, missing: Sequence[int], images: torch.Tensor, known: list[Found | None], rows: list[int]
    ) -> None:
        """Score the images of the missing rows into `known`, and keep them."""
        batch = self._batch(images, missing)
        n = len(missing)
        found = {
            name: self._per_image(metric, batch) if metric.per_image else self._features(metric, batch).reshape(n, -1)
            for name, metric in self.metrics.items()
        }
        if self.cache is not None:
            self.cache.write(factors, *self._of(missing), found)
        for place, row in enumerate(missing):
            known[row - rows[0]] = {name: values[place] for name, values in found.items()}

    def _stacked(self, name: str, known: Sequence[Found | None]) -> np.ndarray:
        return np.stack([found[name] for found in known if found is not None])

    def _batch(self, images: torch.Tensor, rows: Sequence[int]) -> Batch:
        """Images with their prompts; each frame of a video is an image of its prompt."""
        from metrics.base import Batch

        flat = images.flatten(0, 1) if images.ndim == 5 else images
        return Batch(flat, by_frame(self._of(rows)[0], self.frames), self.frames)

    def _per_image(self, metric: Metric, batch: Batch) -> np.ndarray:
        """One score for each prompt; a video's is the mean over its frames, where the metric scores frames."""
        found = metric.score(batch).per_image
        assert found is not None
        n = len(batch) // self.frames
        return found if len(found) == n else found.reshape(n, self.frames).mean(axis=1)

    def _features(self, metric: Any, batch: Batch) -> np.ndarray:
        return np.asarray(metric.features(batch))

    def _table(
        self, rows: Sequence[int], columns: Mapping[str, np.ndarray], before: pd.DataFrame | None
    ) -> pd.DataFrame:
        import pandas as pd

        prompts, seeds = self._of(rows)
        found = pd.DataFrame({"prompt": prompts, "seed": seeds, **columns})
        return found if before is None else pd.concat([before, found], ignore_index=True)


def value_of(metric: Any, table: pd.DataFrame, features: Mapping[str, np.ndarray], base: Evaluation | None) -> Value:
    """A metric's value from per-image scores (n rows) or features, with the paired error if the baseline's are known.

    Raises:
        UserError: the value is not finite.
    """
    from search.evaluation import extrapolation

    if metric.per_image:
        scores = table[metric.name].to_numpy()
        zero = base.per_image[metric.name].to_numpy() if base is not None and base.per_image is not None else None
        value, spread, paired = extrapolation.mean(scores, zero)
    else:
        zero = base.features[metric.name] if base is not None else None
        value, spread, paired = extrapolation.distance(
            features[metric.name], zero, len(table), base.n if base else 0, metric
        )
    if not math.isfinite(value):
        raise UserError(f"{metric.name} is {value} on {len(table)} images")
    return Value(value, spread, len(table), metric.direction, paired)


def by_frame(prompts: Sequence[str], frames: int) -> tuple[str, ...]:
    """The prompt of each frame of their videos."""
    return tuple(prompt for prompt in prompts for _ in range(frames))


def _joined(before: np.ndarray | None, found: np.ndarray) -> np.ndarray:
    return found if before is None else np.concatenate([before, found])


@dataclass(frozen=True)
class Evaluators:
    """What a worker holds: one model, and an evaluator for each purpose. too_long: prompts that the model cuts."""

    by_purpose: Mapping[str, Evaluator]
    too_long: tuple[str, ...] = ()

    def evaluate(self, task: Task, on_images: OnImages | None = None) -> Evaluation:
        """The task, done by the evaluator for its purpose."""
        return self.by_purpose[task.purpose](task, on_images)


LOW = "low"
"""The purpose of a task with few steps."""
