"""SDXL with its refiner: the base model under factors for most of the run, the refiner for the end of it.

FreeU acts on the base model, as in the tools that have both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Self

import torch

from configs import UserError
from freeu.generate import generator
from freeu.sampling import Sampling

from .image_to_image import ImageToImage, begun
from .place import Place
from .spec import ModelSpec
from .text_to_image import TextToImage

FROM = 0.8
"""The share of the training timesteps after which the refiner takes over, as its authors have it."""


class Refined(TextToImage):
    """A `freeu.generate.Generator` of text to image by two models."""

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place, *, refiner: Any) -> None:
        super().__init__(pipeline, spec, identity, place)
        if not self._is_xl:
            raise UserError(f"--refiner is SDXL's: {spec.name} is another kind of model")
        self._refiner = _Refiner(refiner, spec, identity, place)

    def unet_evaluations(self, n: int) -> int:
        """Of both."""
        return super().unet_evaluations(n) + self._refiner.unet_evaluations(n)

    def with_sampling(self, sampling: Sampling) -> Self:
        """Of both."""
        other = super().with_sampling(sampling)
        if other is self:
            return self
        other._refiner = self._refiner.with_sampling(sampling)
        return other

    def prepare(self, prompts: Sequence[str], samplings: Sequence[Sampling] = ()) -> None:
        """Of both."""
        super().prepare(prompts, samplings)
        self._refiner.prepare(prompts, samplings)

    def _embed(self, prompts: Sequence[str], negatives: bool) -> None:
        super()._embed(prompts, negatives)
        self._refiner._embed(prompts, negatives)

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], told: Callable[[float], None]) -> torch.Tensor:
        randoms = [generator(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        latents = self._begin(prompts, randoms, scheduler := self._scheduler())
        first, last = self._timesteps(scheduler), self._refiner._timesteps(rest := self._refiner._scheduler())
        share = len(first) / (len(first) + len(last))
        condition, later = self._condition(prompts, randoms), self._refiner._condition(prompts, randoms)
        latents = self._denoise(latents, condition, randoms, scheduler, first, lambda done: told(share * done))
        return self._refiner._denoise(
            latents, later, randoms, rest, last, lambda done: told(share + (1 - share) * done)
        )

    def _new_run(self) -> SimpleNamespace:
        run = super()._new_run()
        run.timesteps = self._scheduler().timesteps  # a schedule counts the refiner's steps too
        return run

    def _timesteps(self, scheduler: Any) -> torch.Tensor:
        return scheduler.timesteps[scheduler.timesteps >= _cut(scheduler)]


class _Refiner(ImageToImage):
    """The refiner alone, for the end of the run."""

    def _size(self) -> tuple[int, int]:
        return self._spec.image_size

    def _timesteps(self, scheduler: Any) -> torch.Tensor:
        times = scheduler.timesteps
        late = int((times < _cut(scheduler)).sum())
        if scheduler.order == 2 and late % 2 == 0:  # else it would begin in the middle of a step of two evaluations
            late += 1
        return begun(scheduler, len(times) - late)


def _cut(scheduler: Any) -> float:
    trained = scheduler.config.num_train_timesteps
    return trained - FROM * trained
