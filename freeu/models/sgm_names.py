"""Names of a U-Net's layers in the original code of Stable Diffusion and SDXL, as kohya's LoRAs for SDXL have them, to
diffusers' names; both with "_" between the parts.

There the input blocks are numbered through: the first convolution, then of each level its layers and a downsampler.
The output blocks hold a level's layers, whose last one has an upsampler too. Source of the numbers: the U-Net of
github.com/CompVis/stable-diffusion, ldm/modules/diffusionmodules/openaimodel.py.
"""

from __future__ import annotations

import re

OUTER = {
    "input_blocks_0_0": "conv_in",
    "out_2": "conv_out",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
    "middle_block_0": "mid_block_resnets_0",
    "middle_block_1": "mid_block_attentions_0",
    "middle_block_2": "mid_block_resnets_1",
}
RESNET = {
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
NUMBERED = re.compile(r"(input|output)_blocks_(\d+)_(\d+)_(.+)")


def diffusers_name(name: str, per_block: int) -> str:
    """What diffusers calls the layer; a name that is diffusers' already stays. per_block: the U-Net's
    `layers_per_block`."""
    for theirs, ours in OUTER.items():
        if name == theirs or name.startswith(f"{theirs}_"):
            return _inner(ours + name.removeprefix(theirs))
    if (match := NUMBERED.fullmatch(name)) is None:
        return name
    place, rest = int(match[3]), _inner(match[4])
    if match[1] == "input":
        block, layer = divmod(int(match[2]) - 1, per_block + 1)
        if layer == per_block:
            return f"down_blocks_{block}_downsamplers_0_{rest.replace('op', 'conv')}"
        return f"down_blocks_{block}_{'attentions' if place else 'resnets'}_{layer}_{rest}"
    block, layer = divmod(int(match[2]), per_block + 1)
    if place and rest == "conv":
        return f"up_blocks_{block}_upsamplers_0_conv"
    return f"up_blocks_{block}_{'attentions' if place else 'resnets'}_{layer}_{rest}"


def _inner(name: str) -> str:
    for theirs, ours in RESNET.items():
        if name.endswith(theirs):
            return name.removesuffix(theirs) + ours
    return name
