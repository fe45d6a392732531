"""Where FreeU acts: the decoder's concatenations of a diffusers U-Net, found from its module tree.

Each decoder resnet takes the backbone feature and a skip feature, joined along the channels. The backbone's width is
the out_channels of what ran before: the mid block for the first resnet, then the previous resnet. Two conventions name
the stages and they differ at 7 of Stable Diffusion's 12 concatenations: see `Site.stage`.
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

    def stage(self, stages: Stages) -> int | None:
        """1, 2 or None (untouched).

        By width, as the authors: 4 C channels are stage 1, 2 C are stage 2. By block, as diffusers: the first decoder
        block is stage 1, the second stage 2.
        """
        if stages == "width":
            return {4 * self.base: 1, 2 * self.base: 2}.get(self.width)
        return {0: 1, 1: 2}.get(self.block)


def find_sites(unet: nn.Module) -> tuple[Site, ...]:
    """The concatenations of a U-Net in the order in which they run.

    Raises:
        UserError: no decoder resnet takes a concatenation; says what was looked for.
    """
    blocks = list(getattr(unet, "up_blocks", None) or ())
    resnets = [(index, resnet) for index, block in enumerate(blocks) for resnet in getattr(block, "resnets", ())]
    before = list(getattr(getattr(unet, "mid_block", None), "resnets", ()))
    if not resnets or not before or not all(_is_resnet(resnet) for resnet in [before[-1], *(r for _, r in resnets)]):
        raise UserError(
            f"{type(unet).__name__} has no skip concatenations that FreeU knows: looked for mid_block.resnets and "
            "up_blocks[i].resnets with in_channels and out_channels; call freeu.modulate at them yourself"
        )
    base, width, sites = resnets[-1][1].out_channels, before[-1].out_channels, []
    for index, resnet in resnets:
        if resnet.in_channels > width:
            sites.append(Site(resnet, width, base, index))
        width = resnet.out_channels
    if not sites:
        raise UserError(
            f"{type(unet).__name__} has no skip concatenations: no decoder resnet takes more channels than the one "
            "before it gives"
        )
    return tuple(sites)


def _is_resnet(module: nn.Module) -> bool:
    return all(isinstance(getattr(module, name, None), int) for name in ("in_channels", "out_channels"))
