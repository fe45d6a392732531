"""Which layer each tensor of a LoRA's file changes, and whether it fits there: told by names and shapes alone.

Names are read in kohya's layout, with Stability's block numbers too, in ComfyUI's, and in those of diffusers from 2023
on and PEFT. Every tensor of the file has to find its place: what does not is an error, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from configs import UserError

from .sgm_names import diffusers_name

KEY = re.compile(r"(?P<layer>.+?)[._]lora(?:_linear_layer)?[._](?P<part>down|up|A|B)(?:\.default)?\.weight")
MORE = re.compile(r"(?P<layer>.+?)\.(?P<part>alpha|dora_scale|lora_magnitude_vector(?:\.default)?(?:\.weight)?)")
PARTS = {"down": "down", "A": "down", "up": "up", "B": "up", "alpha": "alpha"}
KOHYA = {"lora_unet_": "unet", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2", "lora_te_": "text_encoder"}
COMFYUI = "diffusion_model."
"""How the U-Net's layers begin in files of its community, under the original code's names."""
NETWORKS = ("unet", "text_encoder", "text_encoder_2")
OTHER_KINDS = {"hada_": "a LoHa", "lokr_": "a LoKr", "lora_mid": "a LoCon with a middle part", "oft_": "an OFT"}
OF_2023 = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""What diffusers called the layers of text encoders then."""
OF_TRANSFORMERS = re.compile(r"(transformer|blocks|layers|(double|single|joint|single_transformer)_blocks)_.+")
"""Layers of transformers: no U-Net's begin so."""
TEXT_WIDTHS = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "SDXL", 1280: "SDXL's refiner"}
"""Of the text that the cross-attention of each takes."""

Shape = Sequence[int]
Layers = dict[tuple[str, str], dict[str, str]]
"""By network and layer, the tensor's name by its part: "down", "up", "alpha" or "magnitude"."""


def layers_of(names: Iterable[str], per_block: int) -> Layers:
    """The layers that a file's tensors change, by diffusers' names with "_" for ".". per_block: the U-Net's
    `layers_per_block`.

    Raises:
        UserError: a tensor is no LoRA's.
    """
    found: Layers = {}
    for name in names:
        match = KEY.fullmatch(name) or MORE.fullmatch(name)
        if match is None:
            kind = next((kind for mark, kind in OTHER_KINDS.items() if mark in name), "no LoRA")
            raise UserError(f"its tensor {name} is of {kind}: merge that into a model with the tool that made it")
        found.setdefault(_place(match["layer"], per_block), {})[PARTS.get(match["part"], "magnitude")] = name
    return found


def check(layers: Layers, shapes: Mapping[str, Shape], networks: Mapping[str, Mapping[str, Shape] | None]) -> None:
    """Whether each layer is whole and fits the model's.

    shapes: of the file's tensors. networks: of the model, the shape of each layer's weight; None for one whose layers
    are not known.

    Raises:
        UserError: there are none, or some have no place; says what the file seems to be made for.
    """
    if not layers:
        raise UserError("it holds no tensors")
    misfits = [
        next(iter(parts.values()))
        for (network, layer), parts in layers.items()
        if (weights := networks.get(network, {})) is not None and not _fits(parts, shapes, weights.get(layer))
    ]
    if misfits:
        some = ", ".join(misfits[:3]) + (", …" if len(misfits) > 3 else "")
        raise UserError(
            f"{len(misfits)} of its {len(layers)} layers have no place in this model ({some}): it is for "
            f"{_made_for(layers, shapes)}, or these must be taken out of the file"
        )


def _fits(parts: Mapping[str, str], shapes: Mapping[str, Shape], weight: Shape | None) -> bool:
    """Whether a layer's tensors are all there, and of a weight of this shape."""
    if weight is None or "down" not in parts or "up" not in parts:
        return False
    down, up = shapes[parts["down"]], shapes[parts["up"]]
    if min(len(down), len(up), len(weight)) < 2:
        return False
    whole = prod(down[1:]) == prod(weight[1:]) and up[0] == weight[0] and prod(up[1:]) == down[0]
    return whole and ("magnitude" not in parts or prod(shapes[parts["magnitude"]]) in weight[:2])


def _made_for(layers: Layers, shapes: Mapping[str, Shape]) -> str:
    if any(network == "unet" and OF_TRANSFORMERS.fullmatch(layer) for network, layer in layers):
        return "a transformer (Flux, SD 3, …)"
    words = [parts["down"] for (_, layer), parts in layers.items() if layer.endswith("attn2_to_k") and "down" in parts]
    widths = {shapes[name][-1] for name in words if shapes[name]}
    return TEXT_WIDTHS.get(widths.pop(), "another architecture") if len(widths) == 1 else "another architecture"


def _place(name: str, per_block: int) -> tuple[str, str]:
    """(network, layer) that a key's beginning names; layers with "_" for "."."""
    for prefix, network in KOHYA.items():
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return network, diffusers_name(rest, per_block) if network == "unet" else rest.removeprefix("text_model_")
    name = name.removeprefix("base_model.model.")
    if name.startswith(COMFYUI):
        return "unet", diffusers_name(name.removeprefix(COMFYUI).replace(".", "_"), per_block)
    network, _, rest = name.partition(".")
    if network not in NETWORKS:
        network, rest = "unet", name
    rest = rest.replace(".processor.", ".").removeprefix("text_model.")
    *above, last = rest.split(".")
    if network == "unet" and last == "to_out":
        last = "to_out.0"
    elif network != "unet":
        last = OF_2023.get(last, last)
    return network, ".".join([*above, last]).replace(".", "_")
