"""Writes a diffusers Stable Diffusion as the one file of the original code, for the tests of reading such files.

The inverse of what diffusers does when it reads one. The layouts are CompVis' for SD 1, and Stability's for SD 2 and
SDXL, whose text encoders (SDXL's second) stand there as OpenCLIP names them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.resnets.1": "middle_block.2",
}
VAE = {
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "mid_block.attentions.0": "mid.attn_1",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding": "token_embedding",
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def write(pipeline: Any, file: Path, layout: str = "sd1") -> Path:
    """The pipeline's networks in one safetensors file, in float32. layout: sd1, sd2 or sdxl."""
    found = tensors(pipeline, layout)
    save_file({key: value.float().contiguous().clone() for key, value in found.items()}, file)
    return file


def tensors(pipeline: Any, layout: str) -> dict[str, torch.Tensor]:
    """What the file holds, by name."""
    found = {f"model.diffusion_model.{_unet(k, pipeline.unet)}": v for k, v in pipeline.unet.state_dict().items()}
    for name, value in pipeline.vae.state_dict().items():
        key = _vae(name, len(pipeline.vae.config.block_out_channels))
        image = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", key)
        found[f"first_stage_model.{key}"] = value[:, :, None, None] if image else value
    if layout == "sd2":
        found |= _open_clip(pipeline.text_encoder, "cond_stage_model.model.")
    else:
        prefix = "cond_stage_model" if layout == "sd1" else "conditioner.embedders.0"
        for name, value in pipeline.text_encoder.state_dict().items():
            found[f"{prefix}.transformer.text_model.{name.removeprefix('text_model.')}"] = value
    if layout == "sdxl":
        found |= _open_clip(pipeline.text_encoder_2, "conditioner.embedders.1.model.")
    return found


def _open_clip(encoder: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    state = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    for name, value in state.items():
        if name == "text_projection.weight":
            found[f"{prefix}text_projection"] = value.T
        elif match := re.fullmatch(r"(.*)self_attn\.q_proj\.(weight|bias)", name):
            joined = [state[f"{match[1]}self_attn.{part}_proj.{match[2]}"] for part in "qkv"]
            layer = match[1].replace("encoder.layers", "transformer.resblocks")
            found[f"{prefix}{layer}attn.in_proj_{match[2]}"] = torch.cat(joined)
        elif not re.search(r"self_attn\.[kv]_proj", name):
            for theirs, ours in OPEN_CLIP.items():
                name = name.replace(theirs, ours)
            found[prefix + name] = value
    return found


def _unet(name: str, unet: Any) -> str:
    layers = unet.config.layers_per_block + 1
    for ours, theirs in UNET.items():
        if name.startswith(ours):
            return _resnet(theirs + name[len(ours) :])
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name)
    assert found is not None, name
    direction, block, part, index, rest = found.groups()
    block, index = int(block), int(index)
    if direction == "down":
        if part == "downsamplers":
            return f"input_blocks.{layers * (block + 1)}.0.op.{rest.removeprefix('conv.')}"
        return _resnet(f"input_blocks.{layers * block + index + 1}.{0 if part == 'resnets' else 1}.{rest}")
    if part == "upsamplers":
        place = 2 if getattr(unet.up_blocks[block], "attentions", None) else 1
        return f"output_blocks.{layers * block + layers - 1}.{place}.{rest}"
    return _resnet(f"output_blocks.{layers * block + index}.{0 if part == 'resnets' else 1}.{rest}")


def _resnet(name: str) -> str:
    if "transformer_blocks" in name:
        return name
    for ours, theirs in RESNET.items():
        name = re.sub(rf"\.{ours}\.(weight|bias)$", rf".{theirs}.\1", name)
    return name


def _vae(name: str, levels: int) -> str:
    for ours, theirs in VAE.items():
        name = name.replace(ours, theirs)
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", name)
    return re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
