"""Where FreeU acts: the decoder's concatenations of a diffusers U-Net, found from its module tree.

Each decoder resnet takes the backbone feature and a skip feature, joined along the channels. The backbone's width is
the out_channels of what ran before: the mid block for the first resnet, then the previous resnet. Two conventions name
the stages and they differ at 7 of Stable Diffusion's 12 concatenations: see `Site.stage`. The structure counts, not the
class, so that U-Nets of images and of videos are all found in one way.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from configs import UserError

from .factors import Stages


@dataclass(frozen=True)
class Site:
    """One concatenation: the resnet that takes it, and what is known of its backbone."""

    resnet: nn.Module
    width: int
    """Channels of the backbone feature; they come first in the concatenation."""
    base: int
    """C, the width of the U-Net's outermost level."""
    block: int
    """Index of the decoder block, 0 for the innermost."""
    level: int
    """How often the maps are halved here; 0 is the U-Net's input."""
    shared: bool = False
    """Backbone and skip are one tensor: with no mid block the encoder's last output is both."""

    def stage(self, stages: Stages) -> int | None:
        """1, 2, 3 or None (untouched).

        By width, as the authors: 4 C channels are stage 1, 2 C are stage 2, C the third of `freeu.Controls`. By block,
        as diffusers: the first decoder block is stage 1, the second stage 2, the third stage 3.
        """
        if stages == "width":
            return {4 * self.base: 1, 2 * self.base: 2, self.base: 3}.get(self.width)
        return {0: 1, 1: 2, 2: 3}.get(self.block)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The map's height and width here, for a U-Net input of `height` and `width`."""
        return -(-height // 2**self.level), -(-width // 2**self.level)


def find_sites(unet: nn.Module) -> tuple[Site, ...]:
    """The concatenations of a U-Net in the order in which they run.

    Raises:
        UserError: no decoder resnet takes a concatenation; says what was looked for.
    """
    blocks = list(getattr(unet, "up_blocks", None) or ())
    resnets = [(index, resnet) for index, block in enumerate(blocks) for resnet in getattr(block, "resnets", ())]
    widths = [found for _, resnet in resnets if (found := _channels(resnet))]
    width = _width_before(unet)
    if not resnets or width is None or len(widths) < len(resnets):
        raise UserError(
            f"{type(unet).__name__} has no skip concatenations that FreeU knows: looked for mid_block.resnets (or "
            "config.block_out_channels) and up_blocks[i].resnets with in_channels and out_channels; call "
            "freeu.modulate at them yourself"
        )
    # The output is as large as the input, so that a block lies as deep as it and those after it double the maps.
    doubles = [bool(getattr(block, "upsamplers", None)) for block in blocks]
    sites, base, shared = [], widths[-1][1], getattr(unet, "mid_block", None) is None
    for (index, resnet), (taken, given) in zip(resnets, widths, strict=True):
        if taken > width:
            sites.append(Site(resnet, width, base, index, sum(doubles[index:]), shared))
        width, shared = given, False
    if not sites:
        raise UserError(
            f"{type(unet).__name__} has no skip concatenations: no decoder resnet takes more channels than the one "
            "before it gives"
        )
    return tuple(sites)


def _channels(resnet: nn.Module) -> tuple[int, int] | None:
    """(in, out) of a resnet; a spatio-temporal one takes its input in its spatial part, FreeNoise's splits wrap one."""
    inner = getattr(resnet, "spatial_res_block", resnet)
    while not hasattr(inner, "in_channels") and isinstance(getattr(inner, "module", None), nn.Module):
        inner = inner.module
    found = tuple(getattr(inner, name, None) for name in ("in_channels", "out_channels"))
    return found if all(isinstance(channels, int) for channels in found) else None  # type: ignore[return-value]


def _width_before(unet: nn.Module) -> int | None:
    """Channels of the first backbone feature: the mid block's, else those that the encoder ends with."""
    middle = list(getattr(getattr(unet, "mid_block", None), "resnets", None) or ())
    found = _channels(middle[-1]) if middle else None
    if found is not None:
        return found[1]
    widths = getattr(getattr(unet, "config", None), "block_out_channels", None)
    return widths[-1] if widths else None
