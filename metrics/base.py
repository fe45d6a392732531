"""What a metric takes and gives: a batch of images with their prompts in, a score with its uncertainty out."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch

from configs import UserError

if TYPE_CHECKING:
    from .encoders import Encoder

Direction = Literal["up", "down", "none"]
"""Whether more or less is better, or neither: a guardrail's."""


class MetricError(UserError):
    """A score that can't be given: too few images, or values that are no numbers. It never becomes 0."""


@dataclass(frozen=True)
class Batch:
    """Images with the prompts that they were made from.

    Attributes:
        images: uint8 (n, 3, H, W).
        prompts: n of them, in the order of the images.
        frames: of each video, whose frames stand next to one another; an image is one.
        evaluations: of the U-Net for an image (a video); None where that is not known.
        base: the baseline's images (FreeU off) of the same prompts and seeds, for metrics that compare with them.
    """

    images: torch.Tensor
    prompts: tuple[str, ...]
    frames: int = 1
    evaluations: int | None = None
    base: Batch | None = field(default=None, repr=False, compare=False)
    _made: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if self.images.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3:
            raise MetricError(f"images are {self.images.dtype} {shape}: expected uint8 (n, 3, H, W)")
        if len(self.prompts) != shape[0]:
            raise MetricError(f"{shape[0]} images and {len(self.prompts)} prompts: give one prompt for each image")

    def __len__(self) -> int:
        return len(self.prompts)

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What several metrics read of this batch: made for the first that asks under a key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def embed(self, encoder: Encoder) -> torch.Tensor:
        """The images' embeddings (n, d), float32 on the CPU; made once for all metrics that read this encoder."""

        def embedded() -> torch.Tensor:
            found = encoder.embed_images(self.images)
            if not torch.isfinite(found).all():
                raise MetricError(f"the encoder {encoder.name} gave NaN or infinity for one of {len(self)} images")
            return found

        found: torch.Tensor = self.once(encoder.identity, embedded)
        return found


@dataclass(frozen=True)
class Score:
    """What a metric found.

    Attributes:
        direction: "up" where more is better.
        spread: standard error of `value`.
        per_image: float64 (n,), None for a metric of the whole set.
    """

    metric: str
    version: str
    direction: Direction
    value: float
    spread: float
    n: int
    per_image: np.ndarray | None


class Metric(Protocol):
    """One metric. A metric of the set also has `features(batch)` and `distance(features)`, for comparisons in pairs.

    One that reads weights names them: `encoder` has an identity, and `identity` is of those beside it. What was scored
    with others is not taken over.
    """

    name: str
    version: str
    direction: Direction
    per_image: bool
    min_n: int

    def score(self, batch: Batch) -> Score:
        """Raises MetricError for fewer than `min_n` images or values that are no numbers."""
        ...


def mean_score(metric: Metric, per_image: np.ndarray) -> Score:
    """The mean of per-image values (n,), n at least 1, with its standard error."""
    if not np.isfinite(per_image).all():
        raise MetricError(f"{metric.name} is no number for {int((~np.isfinite(per_image)).sum())} of {len(per_image)}")
    n = len(per_image)
    spread = float(per_image.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Score(metric.name, metric.version, metric.direction, float(per_image.mean()), spread, n, per_image)


def check_count(metric: Metric, n: int) -> None:
    """Raises MetricError where there are too few images."""
    if n < metric.min_n:
        raise MetricError(f"{metric.name} needs at least {metric.min_n} images, found {n}")
