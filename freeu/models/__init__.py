"""Base models: a spec says what one is (configs/models/NAME.yaml), a file for each kind of pipeline runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .spec import ModelSpec, load_spec, model_names

if TYPE_CHECKING:
    from freeu.generate import Generator

__all__ = ["ModelSpec", "load_generator", "load_spec", "model_names"]


def load_generator(
    spec: ModelSpec,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int | None = None,
) -> Generator:
    """Loads a base model's weights. What is None is taken from the spec, or chosen for the device.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps".
        dtype: "float32", "float16" or "bfloat16"; float16 on CUDA and float32 elsewhere where None.

    Raises:
        UserError: the weights can't be had or read; says what was tried and what to do.
    """
    from .text_to_image import TextToImage

    return TextToImage.load(
        spec,
        device=device,
        dtype=dtype or ("float16" if device.startswith("cuda") else "float32"),
        steps=steps or spec.steps,
        guidance=spec.guidance if guidance is None else guidance,
        batch_size=batch_size or spec.batch_size.get(device.partition(":")[0], 4),
    )
