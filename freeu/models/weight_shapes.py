"""Shapes of a model's layers, from the headers of its files: what an add-on has to fit, known before weights load.

Layers go by diffusers' names with "_" for ".", as in `.lora_layers`, whatever layout the file has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from .identity import read_index, weights
from .lora_layers import NETWORKS, Shape
from .sgm_names import diffusers_name
from .single import header, prefix_of

Shapes = Mapping[str, Shape]
WORDS = {
    "cond_stage_model.transformer.": "text_encoder",
    "cond_stage_model.model.": "text_encoder",
    "conditioner.embedders.0.transformer.": "text_encoder",
    "conditioner.embedders.1.model.": "text_encoder_2",
}
"""How the tensors of text encoders begin in a checkpoint of the original code; those with "model." are OpenCLIP's."""
OPEN_CLIP = {"attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
FUSED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_weight")
RESBLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.weight")


def of_folder(folder: Path, variant: str | None = None) -> dict[str, Shapes | None]:
    """By network of a pipeline's folder; None for one in pickles, whose shapes can't be told without loading them.

    Raises:
        UserError: a network's weights are not there, or damaged.
    """
    index = read_index(folder)
    here = [name for name in NETWORKS if isinstance(found := index.get(name), list) and found and found[0] is not None]
    return {name: of_network(folder / name, variant) for name in here}


def of_network(place: Path, variant: str | None = None) -> Shapes | None:
    """Of one network's folder."""
    files = weights(place, variant)
    if any(file.suffix != ".safetensors" for file in files):
        return None
    return _layers(entry for file in files for entry in header(file).items())


def of_file(file: Path, per_block: int = 2) -> dict[str, Shapes | None]:
    """By network of a checkpoint in the original code's layout. per_block: the U-Net's `layers_per_block`."""
    found: dict[str, Shapes | None] = {"unet": of_part(file, "unet", per_block)}
    for prefix, network in WORDS.items():
        of_it = [(name.removeprefix(prefix), each) for name, each in header(file).items() if name.startswith(prefix)]
        if of_it:
            found[network] = _open_clips(of_it) if prefix.endswith("model.") else _layers(of_it)
    return found


def of_part(file: Path, part: str, per_block: int = 2) -> Shapes:
    """Of the U-Net ("unet") or VAE ("vae") that a file holds alone or in a whole model; the VAE's by the file's names,
    of which the outer layers' are diffusers' too."""
    found = header(file)
    prefix = prefix_of(found, part)
    of_it = ((name.removeprefix(prefix), each) for name, each in found.items() if name.startswith(prefix))
    return {diffusers_name(name, per_block): shape for name, shape in _layers(of_it).items()}


def _layers(entries: Iterable[tuple[str, Mapping[str, Shape]]]) -> Shapes:
    """Those with weights: of linear layers and convolutions, and of embeddings, which no add-on names."""
    return {
        name.removesuffix(".weight").removeprefix("text_model.").replace(".", "_"): each["shape"]
        for name, each in entries
        if name.endswith(".weight") and len(each["shape"]) > 1
    }


def _open_clips(entries: Iterable[tuple[str, Mapping[str, Shape]]]) -> Shapes:
    """Of a text encoder of OpenCLIP, by transformers' names: queries, keys and values are one tensor there."""
    found: dict[str, Shape] = {}
    for name, each in entries:
        if len(each["shape"]) != 2:
            continue
        if match := FUSED.fullmatch(name):
            three, width = each["shape"]
            for part in "qkv":
                found[f"encoder_layers_{match[1]}_self_attn_{part}_proj"] = [three // 3, width]
        elif (match := RESBLOCK.fullmatch(name)) and match[2] in OPEN_CLIP:
            found[f"encoder_layers_{match[1]}_{OPEN_CLIP[match[2]]}".replace(".", "_")] = each["shape"]
    return found
