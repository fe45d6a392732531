"""Evaluates a candidate: generate, then score. Knows neither Optuna nor MLflow.

A candidate may be evaluated in parts: a task names the last prompt, and carries the results on those before.
search/evaluation/extrapolation.py estimates the scores on all prompts from those on a part.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import UserError
from configs.devices import CPU, Device
from freeu import Candidate, Sampling
from freeu.sampling import UNCHANGED, dealt
from search.evaluation.interrupts import Stopping
from search.evaluation.peak_memory import Peak
from search.settings.prompts import check_enough
from search.storage import Value

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from freeu.generate import Generator
    from metrics.base import Batch, Metric
    from search.evaluation.score_cache import Cache, Found
    from search.storage.image_grid import Images, Part

OnImages = Callable[[float], None]
"""Told how many images of a task are done, after each step; those in flight count by their share of steps."""


@dataclass(frozen=True)
class Evaluation:
    """A candidate's results on the first n prompts. values: for all prompts; estimated, if n is a part of them.

    per_image: columns prompt, seed, then one for each metric that has such scores. features: by metric of the set,
    (n, d), of videos one row for each frame. images: uint8, of this part alone, small (see
    `search.storage.image_grid.small`) or whole; a list of them where the study deals several sizes.
    """

    values: dict[str, Value]
    n: int
    per_image: pd.DataFrame | None = None
    features: dict[str, np.ndarray] = field(default_factory=dict)
    images: Images | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    unet_evaluations: int = 0
    peak_memory: int = 0  # bytes


@dataclass(frozen=True)
class Task:
    """Evaluate a candidate on the prompts up to `end`.

    before: its results on the first ones. base: the baseline's on all. purpose: which prompts and seeds, as "search" or
    "confirm".
    """

    candidate: Candidate
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
        whole: bool = False,
        sizes: Sequence[tuple[int, int]] = (),
    ) -> None:
        """whole: give the images at their full size, not small as a grid shows them. sizes: that are dealt to them by
        their seeds, (width, height) each; all have the generator's own where there are none.
        """
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds")
        self.generator, self.metrics = generator, dict(metrics)
        self.prompts, self.seeds, self.cache, self.whole = tuple(prompts), tuple(seeds), cache, whole
        self.sizes = tuple(sizes)
        self._generators: dict[Sampling, Generator] = {UNCHANGED: generator}
        for name, metric in self.metrics.items():
            check_enough(name, metric.min_n, len(self.prompts))

    @property
    def frames(self) -> int:
        """Of each video; an image is one."""
        return getattr(self.generator, "frames", 1)

    def __call__(self, task: Task, on_images: OnImages | None = None) -> Evaluation:
        """Generate and score; where all is drawn already, score alone. Raises what the generator or a metric raises;
        Ctrl-C ends it after a step.
        """
        parts = [] if task.before is None else [replace(task.before, images=None)]
        images = None
        if task.begin < task.end:
            here = slice(task.begin, task.end)
            parts.append(self.measure(task.candidate, self.prompts[here], self.seeds[here], on_images))
            images = parts[-1].images
        whole = merged(parts)
        assert whole.per_image is not None
        began = time.perf_counter()
        values = {
            name: value_of(metric, whole.per_image, whole.features, task.base) for name, metric in self.metrics.items()
        }
        took = time.perf_counter() - began
        seconds = {**whole.seconds, "score": whole.seconds["score"] + took, "total": whole.seconds["total"] + took}
        return replace(whole, values=values, images=images, seconds=seconds)

    def measure(
        self,
        candidate: Candidate,
        prompts: Sequence[str],
        seeds: Sequence[int],
        on_images: OnImages | None = None,
        anew: bool = False,
    ) -> Evaluation:
        """What the images of these prompts and seeds get one by one, without values of the whole. anew: uncached."""
        import pandas as pd

        from search.storage.image_grid import in_order, small

        began, peak = time.perf_counter(), Peak()
        known: list[Found | None] = [None] * len(prompts)
        if self.cache is not None and not anew:
            known = self.cache.read(candidate, prompts, seeds)
        missing = [row for row, found in enumerate(known) if found is None]
        parts = list(self._drawn(candidate, prompts, seeds, missing, on_images))
        generated = time.perf_counter()
        for rows, drawn in parts:
            texts, numbers = [prompts[row] for row in rows], [seeds[row] for row in rows]
            for row, each in zip(rows, self._scored(candidate, texts, numbers, drawn), strict=True):
                known[row] = each
        images, n = in_order(parts), len(known)
        columns = {name: np.stack([found[name] for found in known if found is not None]) for name in self.metrics}
        scores = {name: columns[name] for name in self._named(True)}
        table = pd.DataFrame({"prompt": list(prompts), "seed": list(seeds), **scores})
        features = {name: columns[name].reshape(n * self.frames, -1) for name in self._named(False)}
        ended = time.perf_counter()
        seconds = {"generate": generated - began, "score": ended - generated, "total": ended - began}
        return Evaluation(
            {},
            n,
            table,
            features,
            images if images is None or self.whole else small(images),
            seconds,
            self.under(candidate.sampling).unet_evaluations(len(missing)),
            peak.bytes(),
        )

    def _drawn(
        self,
        candidate: Candidate,
        prompts: Sequence[str],
        seeds: Sequence[int],
        rows: Sequence[int],
        on_images: OnImages | None,
    ) -> Iterator[Part]:
        """These rows' images, in parts of one size."""
        by_size: dict[Sampling, list[int]] = {}
        for row in rows:
            size = dealt(self.sizes, seeds[row]) if self.sizes else None
            by_size.setdefault(replace(candidate.sampling, size=size) if size else candidate.sampling, []).append(row)
        before = 0
        for sampling, part in by_size.items():
            with Stopping() as stopping:

                def step(done: float) -> None:
                    stopping.check()
                    if on_images is not None:
                        on_images(before + done)  # noqa: B023

                texts, numbers = [prompts[row] for row in part], [seeds[row] for row in part]
                drawn = self.under(sampling).generate(texts, numbers, candidate.factors, step)
            yield part, drawn
            before += len(part)

    def _named(self, per_image: bool) -> list[str]:
        return [name for name, metric in self.metrics.items() if metric.per_image is per_image]

    def under(self, sampling: Sampling) -> Generator:
        """The generator under a candidate's sampling settings. Raises UserError where it can't be."""
        if sampling not in self._generators:
            self._generators[sampling] = self.generator.with_sampling(sampling)
        return self._generators[sampling]

    def _scored(
        self, candidate: Candidate, prompts: Sequence[str], seeds: Sequence[int], images: torch.Tensor
    ) -> list[Found]:
        """What each image got; kept for whoever needs the same one again."""
        evaluations = self.under(candidate.sampling).unet_evaluations(1)
        batch, n = self._batch(images, prompts, evaluations), len(prompts)
        found = {
            name: self._per_image(metric, batch) if metric.per_image else self._features(metric, batch).reshape(n, -1)
            for name, metric in self.metrics.items()
        }
        if self.cache is not None:
            self.cache.write(candidate, prompts, seeds, found)
        return [{name: values[row] for name, values in found.items()} for row in range(n)]

    def _batch(self, images: torch.Tensor, prompts: Sequence[str], evaluations: int) -> Batch:
        """Images with their prompts; each frame of a video is an image of its prompt."""
        from metrics.base import Batch

        flat = images.flatten(0, 1) if images.ndim == 5 else images
        return Batch(flat, by_frame(prompts, self.frames), self.frames, evaluations)

    def _per_image(self, metric: Metric, batch: Batch) -> np.ndarray:
        """One score for each prompt; a video's is the mean over its frames, where the metric scores frames."""
        found = metric.score(batch).per_image
        assert found is not None
        n = len(batch) // self.frames
        return found if len(found) == n else found.reshape(n, self.frames).mean(axis=1)

    def _features(self, metric: Any, batch: Batch) -> np.ndarray:
        return np.asarray(metric.features(batch))


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


def merged(parts: Sequence[Evaluation]) -> Evaluation:
    """What was found on prompts one after the other, without values. images: of those that have some."""
    import pandas as pd

    from search.storage.image_grid import together

    tables = [part.per_image for part in parts if part.per_image is not None]
    images = [each for part in parts if part.images is not None for each in part.images]
    seconds = dict.fromkeys(name for part in parts for name in part.seconds)
    return Evaluation(
        {},
        sum(part.n for part in parts),
        pd.concat(tables, ignore_index=True) if tables else None,
        {name: np.concatenate([part.features[name] for part in parts]) for name in parts[0].features},
        together(images) if images else None,
        {name: sum(part.seconds.get(name, 0.0) for part in parts) for name in seconds},
        sum(part.unet_evaluations for part in parts),
        max(part.peak_memory for part in parts),
    )


@dataclass(frozen=True)
class Evaluators:
    """What a worker holds: one model, and an evaluator for each purpose. too_long: prompts that the model cuts. device:
    where it is."""

    by_purpose: Mapping[str, Evaluator]
    too_long: tuple[str, ...] = ()
    device: Device = CPU

    def evaluate(self, task: Task, on_images: OnImages | None = None) -> Evaluation:
        """The task, done by the evaluator for its purpose."""
        return self.by_purpose[task.purpose](task, on_images)


LOW = "low"
"""The purpose of a task with cheaper images."""
