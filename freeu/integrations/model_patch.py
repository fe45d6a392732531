"""FreeU as a patch on the decoder's concatenations that a program offers by itself, as ComfyUI and Forge do.

ComfyUI calls it before each concatenation with the backbone, the skip and what it knows of the step (`sigmas`, the
noise now; `sample_sigmas`, that of every step; `block`, which one): `ModelPatcher.set_model_output_block_patch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from freeu.concat import modulate
from freeu.factors import Factors, FactorsError
from freeu.schedule import weight

Patched = tuple[torch.Tensor, torch.Tensor]


class OutputBlockPatch:
    """Callable (h, hsp, transformer_options) → (h, hsp); the inputs are not changed."""

    def __init__(self, factors: Factors, channels: int, blocks: Sequence[int]) -> None:
        """channels: of the U-Net's first stage. blocks: residual blocks of each encoder level, the first level first.

        Raises:
            FactorsError: stages by block, and blocks is empty.
        """
        if factors.stages == "block" and not blocks:
            raise FactorsError("stages by block need the model's number of blocks, which it does not tell")
        self._factors = factors
        self._by_width = {4 * channels: 1, 2 * channels: 2, channels: 3}
        # A decoder block joins one skip more than its encoder's level has residual blocks.
        joined = [stage for stage, count in enumerate(reversed(blocks), start=1) for _ in range(count + 1)]
        self._by_block = {place: stage for place, stage in enumerate(joined) if stage <= 3}

    def __call__(self, h: torch.Tensor, hsp: torch.Tensor, transformer_options: Mapping[str, Any]) -> Patched:
        stage = self._stage(h, transformer_options)
        if stage is None:
            return h, hsp
        controls, factors = self._factors.controls, self._factors
        b, s, high = factors.of(stage)
        if controls.scheduled:
            now = float(weight(*_step(transformer_options), controls))
            b, s, high = (1 + (value - 1) * now for value in (b, s, high))
        return modulate(
            h,
            hsp,
            b,
            s,
            version=factors.version,
            threshold=int(controls.of(stage, "threshold")),
            high=high,
            offset=controls.of(stage, "offset"),
            width=controls.of(stage, "width"),
            symmetric=controls.symmetric,
        )

    def _stage(self, h: torch.Tensor, options: Mapping[str, Any]) -> int | None:
        if self._factors.stages == "width":
            return self._by_width.get(h.shape[1])
        return self._by_block.get(options["block"][1])


def _step(options: Mapping[str, Any]) -> tuple[torch.Tensor, int]:
    """(the step's number from 0, the run's steps)."""
    sigmas = options.get("sample_sigmas")
    if sigmas is None:
        raise FactorsError("the preset has a schedule, and this sampler does not say where a step stands in its run")
    times = sigmas[:-1]  # the last is the end
    now = options["sigmas"].flatten()[0]
    return (times.to(now.device) - now).abs().argmin(), len(times)
