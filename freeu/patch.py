"""FreeU on a diffusers U-Net for the length of a `with` block; nothing of the U-Net's code is copied or replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from configs import UserError

from .concat import modulate, modulate_
from .factors import Factors, Version
from .sites import find_sites


@contextmanager
def applied(unet: nn.Module, factors: Factors) -> Iterator[nn.Module]:
    """Runs `unet` with FreeU inside the block.

    A forward pre-hook on each decoder resnet changes the concatenation that it is about to read; the hooks go when the
    block ends, also by an exception. Factors of 1 put no hook, so the output is bit-identical to the plain U-Net's.
    Where blocks are nested, each multiplies on top of the outer one.

    Raises:
        UserError: the U-Net has no concatenations, or diffusers' own FreeU is on.
    """
    sites = find_sites(unet)
    blocks: Any = unet.up_blocks
    if any(getattr(block, name, None) is not None for block in blocks for name in ("b1", "b2", "s1", "s2")):
        raise UserError("diffusers' FreeU is on for this U-Net: call disable_freeu() first, or it would act twice")
    with ExitStack() as stack:
        for site in sites:
            stage = site.stage(factors.stages)
            b, s = (1.0, 1.0) if stage is None else factors.of(stage)
            if (b, s) != (1, 1):
                hook = partial(_before, width=site.width, b=b, s=s, version=factors.version)
                stack.callback(site.resnet.register_forward_pre_hook(hook).remove)
        yield unet


def _before(
    resnet: nn.Module, args: tuple[Any, ...], *, width: int, b: float, s: float, version: Version
) -> tuple[Any, ...]:
    """Changes the first argument of a resnet: the concatenation (n, width + d, H, W), fresh from torch.cat."""
    joined, *rest = args
    if torch.is_grad_enabled() and joined.requires_grad:
        # Gradients need the values that working in place would overwrite.
        joined = torch.cat(modulate(joined[:, :width], joined[:, width:], b, s, version), dim=1)
    else:
        modulate_(joined, width, b, s, version)
    return (joined, *rest)
