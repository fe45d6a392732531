"""A candidate to its scores: generate, then score. Knows neither Optuna nor MLflow."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from configs import UserError
from freeu import Factors
from search.records import Value
from search.stopping import Stopping

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from freeu.generate import Generator
    from metrics.base import Batch, Metric, Score

OnImages = Callable[[float], None]
"""Told how many images of a set are done, after each step; those in flight count by their share of steps."""


@dataclass(frozen=True)
class Evaluation:
    """What one candidate got. per_image: columns prompt, seed, then one for each metric that has such scores.
    guardrails: how far each is from no FreeU; see `search.guardrails`."""

    values: dict[str, Value]
    images: torch.Tensor | None = None
    per_image: pd.DataFrame | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    n: int = 0
    unet_evaluations: int = 0
    guardrails: dict[str, float] = field(default_factory=dict)


class Evaluator:
    """Evaluates candidates on one list of prompts and seeds, the same for all of them."""

    def __init__(
        self,
        generator: Generator,
        metrics: Mapping[str, Metric],
        prompts: Sequence[str],
        seeds: Sequence[int],
    ) -> None:
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds")
        self.generator, self.metrics = generator, dict(metrics)
        self.prompts, self.seeds = tuple(prompts), tuple(seeds)
        for name, metric in self.metrics.items():
            if len(self.prompts) < metric.min_n:
                raise UserError(
                    f"{name} needs at least {metric.min_n} images, and there are {len(self.prompts)} prompts: "
                    "raise --limit, give more prompts, or leave it out of --objectives"
                )

    @property
    def frames(self) -> int:
        """Of each video; an image is one."""
        return getattr(self.generator, "frames", 1)

    def images(self, factors: Factors, on_images: OnImages | None = None) -> torch.Tensor:
        """The candidate's images, (n, 3, H, W) or, of videos, (n, frames, 3, H, W). Ctrl-C ends it after a step."""
        with Stopping() as stopping:

            def step(done: float) -> None:
                stopping.check()
                if on_images is not None:
                    on_images(done)

            return self.generator.generate(self.prompts, self.seeds, factors, step)

    def batch(self, images: torch.Tensor) -> Batch:
        """Images with their prompts; each frame of a video is an image of its prompt."""
        from metrics.base import Batch

        flat = images.flatten(0, 1) if images.ndim == 5 else images
        return Batch(flat, self.prompts_by_frame, self.frames)

    @property
    def prompts_by_frame(self) -> tuple[str, ...]:
        """The prompt of each image of a batch."""
        return tuple(prompt for prompt in self.prompts for _ in range(self.frames))

    def score(self, metric: Metric, batch: Batch) -> Score:
        """As the metric has it; a video's score is the mean over its frames, and videos are what is counted."""
        from dataclasses import replace

        from metrics.base import mean_score

        found = metric.score(batch)
        if self.frames == 1 or found.n == len(self.prompts):  # of the videos already
            return found
        if found.per_image is None:
            return replace(found, n=len(self.prompts))
        return mean_score(metric, found.per_image.reshape(len(self.prompts), self.frames).mean(axis=1))

    def __call__(self, factors: Factors, on_images: OnImages | None = None) -> Evaluation:
        """Generate and score. Raises what the generator or a metric raises."""
        began = time.perf_counter()
        images = self.images(factors, on_images)
        generated = time.perf_counter()
        batch = self.batch(images)
        scores = {name: self.score(metric, batch) for name, metric in self.metrics.items()}
        ended = time.perf_counter()
        seconds = {"generate": generated - began, "score": ended - generated, "total": ended - began}
        return Evaluation(
            values={name: value_of(score) for name, score in scores.items()},
            images=images,
            per_image=self._table(scores),
            seconds=seconds,
            n=len(self.prompts),
            unet_evaluations=self.generator.unet_evaluations(len(self.prompts)),
        )

    def _table(self, scores: Mapping[str, Score]) -> pd.DataFrame:
        import pandas as pd

        columns = {name: score.per_image for name, score in scores.items() if score.per_image is not None}
        return pd.DataFrame({"prompt": self.prompts, "seed": self.seeds, **columns})


def value_of(score: Score) -> Value:
    """What a record keeps of a score. Raises UserError where it isn't a number."""
    if not math.isfinite(score.value):
        raise UserError(f"{score.metric} is {score.value} on {score.n} images")
    return Value(float(score.value), float(score.spread), int(score.n), score.direction)
