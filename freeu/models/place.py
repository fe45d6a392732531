"""Where and how a pipeline is run: device, type of numbers, batch size, and what saves memory or time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import freeu
from configs import UserError
from freeu.batches import Batches, Room

from .spec import ModelSpec

SMALL = 256
"""Pixels of a side up to which a batch of 16 fits anywhere; above it 4 on an accelerator and 1 on a CPU."""

DECODED = 8
"""Large images that are decoded at a time, at the most: more are no faster, and each takes ten times what it takes in
the U-Net."""


@dataclass(frozen=True)
class Place:
    """Chosen for a machine; none of it changes what the images are, beyond rounding.

    Attributes:
        dtype: by name; None is the spec's on cuda, else float32.
        batch_size: the most images at a time; None is found on cuda from what one image takes, and by the images' size
            elsewhere.
        slicing: attention in slices: less memory, slower.
        offload: each network on the device only while it runs: much less memory, slower.
        compiled: the U-Net through torch.compile: minutes at the start, faster then.
        vae_dtype: the decoder's type by name; None is the pipeline's, and float32 where half precision overflows.
        graphs: what is compiled is replayed as CUDA graphs.
    """

    device: torch.device
    dtype: str | None = None
    batch_size: int | None = None
    slicing: bool = False
    offload: bool = False
    compiled: bool = False
    vae_dtype: str | None = None
    graphs: bool = False

    def put(self, pipeline: Any, name: str) -> None:
        """Brings a pipeline here.

        Raises:
            UserError: it doesn't fit, or this device can't do what is asked.
        """
        if self.offload and self.device.type == "cpu":
            raise UserError("--offload keeps on the CPU what the device doesn't need just now: it needs another device")
        if self.graphs and self.device.type != "cuda":
            raise UserError("--cuda-graphs needs a CUDA device: leave it out")
        if self.slicing:
            pipeline.enable_attention_slicing()
        try:
            if self.offload:
                pipeline.enable_model_cpu_offload(device=self.device)
            else:
                pipeline.to(self.device)
        except torch.OutOfMemoryError as error:
            raise UserError(f"not enough memory on {self.device} for {name}: {error}; try --offload") from error
        if self.compiled:
            freeu.enable(pipeline.unet, freeu.IDENTITY)  # before it is compiled: then other factors don't compile again
            # Not the hooks of the U-Net itself: what tells the step of a schedule differs from run to run.
            forward = pipeline.unet.forward
            pipeline.unet.forward = replayed(forward) if self.graphs else torch.compile(forward)

    def settle(self, vae: Any, overflows: bool) -> None:
        """Brings the decoder to its type. overflows: in half precision, unless its config says that it doesn't."""
        if self.vae_dtype is not None:
            vae.to(getattr(torch, self.vae_dtype))
        elif overflows and vae.dtype == torch.float16 and vae.config.force_upcast:
            vae.to(torch.float32)

    def batches(self, spec: ModelSpec) -> Batches:
        """For the U-Net's work."""
        small = spec.resolution <= SMALL and spec.traits.begins is None and not spec.traits.video
        if self.device.type == "cpu" and small and not self.compiled:
            return Batches(self.batch_size, lanes=True)
        return Batches(self._size(spec), Room(self.device), filled=self.compiled)

    def decodes(self, spec: ModelSpec, vae: Any) -> Batches:
        """For the decoder's; where a single image doesn't fit, it is decoded in tiles from then on."""

        def tiled() -> bool:
            if vae.use_tiling:
                return False
            vae.enable_tiling()
            return True

        most = Room.MOST if spec.resolution <= SMALL else DECODED
        size, spare = self._size(spec), tiled if hasattr(vae, "use_tiling") else lambda: False
        return Batches(None if size is None else min(size, most), Room(self.device, most), spare)

    def _size(self, spec: ModelSpec) -> int | None:
        if self.batch_size is not None:
            return self.batch_size
        if self.device.type == "cuda":
            return None
        return 16 if spec.resolution <= SMALL else 1 if self.device.type == "cpu" else 4


def replayed(forward: Callable[..., tuple[torch.Tensor, ...]]) -> Callable[..., tuple[torch.Tensor, ...]]:
    """A forward pass compiled with CUDA graphs. A replay writes its results where those of the one before stand, which
    some schedulers still need: they get copies.
    """
    run = torch.compile(forward, mode="reduce-overhead")

    def copied(*args: Any, **more: Any) -> tuple[torch.Tensor, ...]:
        torch.compiler.cudagraph_mark_step_begin()
        return tuple(each.clone() for each in run(*args, **more))

    return copied
