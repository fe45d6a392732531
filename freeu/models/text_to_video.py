"""Text to video with diffusers' pipelines, under factors: the loop of text to image, on latents with frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from configs import UserError

from .place import Place
from .spec import ModelSpec
from .text_to_image import TextToImage


class TextToVideo(TextToImage):
    """A `freeu.generate.Generator` that gives uint8 (n, frames, 3, H, W)."""

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place) -> None:
        super().__init__(pipeline, spec, identity, place)
        adapter = getattr(pipeline, "motion_adapter", None)
        if adapter is not None and spec.frames > (most := adapter.config.motion_max_seq_length):
            raise UserError(f"{spec.frames} frames are more than the {most} of the motion adapter: lower --frames")
        self.frames = spec.frames

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        (channels, *sides), drawn = super()._shapes()
        return (channels, self._spec.frames, *sides), (self._spec.frames, *drawn)

    def _step(
        self,
        scheduler: Any,
        guess: torch.Tensor,
        t: torch.Tensor,
        latents: torch.Tensor,
        randoms: Sequence[torch.Generator],
    ) -> torch.Tensor:
        if getattr(self._pipeline, "motion_adapter", None) is not None:
            return super()._step(scheduler, guess, t, latents, randoms)
        # ModelScope's pipeline steps frame by frame, and draws noise in that order.
        guess, latents = guess.transpose(1, 2), latents.transpose(1, 2)
        return super()._step(scheduler, guess, t, latents, randoms).transpose(1, 2)

    def _decode(self, latents: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        by_frame = latents.transpose(1, 2).flatten(0, 1)
        names = [prompt for prompt in prompts for _ in range(self.frames)]
        return super()._decode(by_frame, names).unflatten(0, (len(prompts), self.frames))

    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        found = super()._condition(prompts, randoms)
        if getattr(self._pipeline, "motion_adapter", None) is not None:  # AnimateDiff wants words for each frame
            found["encoder_hidden_states"] = found["encoder_hidden_states"].repeat_interleave(self.frames, dim=0)
        return found
