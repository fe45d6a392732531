"""Perturbed-attention guidance (PAG; Ahn et al., arXiv 2403.17377): each prompt is denoised once more with the
self-attention of some layers left out, and the guess is led away from what comes of that: guess + scale (given -
perturbed), equation 15, beside classifier-free guidance. Layers are named, and attention is left out, as in diffusers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from configs import UserError

from .spec import PAG_LAYERS


def check_layers(layers: Sequence[str], config: Mapping[str, Any]) -> None:
    """Whether a U-Net has self-attention in layers of these names, told before its weights load.

    Raises:
        UserError: it has none in one of them.
    """
    if tuple(layers) == PAG_LAYERS:
        return
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        network = UNet2DConditionModel.from_config(config)
    with without_attention(network, layers, guided=True):
        pass


@contextmanager
def without_attention(unet: Any, layers: Sequence[str], guided: bool) -> Iterator[None]:
    """The last part of each batch skips self-attention in these layers of the U-Net, as long as this lasts.

    guided: whether batches have three parts (without words, with them, perturbed) or two.

    Raises:
        UserError: there is no self-attention in one of them.
    """
    from diffusers.models.attention_processor import Attention
    from diffusers.pipelines.pag.pag_utils import PAGMixin

    held = {name: each.processor for name, each in unet.named_modules() if isinstance(each, Attention)}
    layered = PAGMixin()
    layered.unet = unet
    try:
        try:
            layered.set_pag_applied_layers(list(layers))
            layered._set_pag_attn_processor(list(layers), guided)
        except ValueError as error:
            raise UserError(
                f"--pag-layers {','.join(layers)}: the U-Net has no self-attention in one of them; give parts of "
                "names such as mid, down_blocks.2 or up_blocks.0.attentions.1"
            ) from error
        yield
    finally:
        for name, processor in held.items():
            unet.get_submodule(name).processor = processor
