"""Which of FreeU's CUDA kernels can be used on a tensor, and what they take."""

from __future__ import annotations

import warnings
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

import torch

Factor = float | torch.Tensor
"""One for the whole batch, or (n,): one for each sample."""


def usable(name: str, x: torch.Tensor) -> Any:
    """The module `freeu.{name}` with a kernel for x's device; None where the plain form has to do: off CUDA, in what
    is compiled, for gradients, without Triton, or where it can't build for this card (it needs a C compiler).
    """
    plain = not x.is_cuda or torch.compiler.is_compiling() or torch.is_grad_enabled()
    return None if plain else _tried(name, x.device)


@cache
def _tried(name: str, device: torch.device) -> Any:
    try:
        module = import_module(f"freeu.{name}")
        with torch.cuda.device(device):
            module.probe(device)
    except Exception as error:  # whatever it is, the plain form is there
        warnings.warn(f"FreeU's CUDA kernel can't be used, its plain form is: {error}", stacklevel=2)
        return None
    return module


def as_float32(factor: Factor, device: torch.device) -> torch.Tensor:
    """A factor as a kernel reads it: float32, (1,) or (n,), on the device."""
    if isinstance(factor, torch.Tensor):
        return factor.to(device=device, dtype=torch.float32).reshape(-1).contiguous()
    return _constant(float(factor), device)


@lru_cache(maxsize=64)
def _constant(value: float, device: torch.device) -> torch.Tensor:
    # Kept, as filling it would be a kernel in each call.
    with torch.inference_mode(False):
        return torch.full((1,), value, dtype=torch.float32, device=device)
