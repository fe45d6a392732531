"""LoRAs (Hu et al., arXiv 2106.09685) and DoRAs (Liu et al., arXiv 2402.09353), merged into the weights.

A layer's change is alpha / rank · up · down. A DoRA gives a magnitude m beside it: W' = m · V / |V| for V = W + change,
norms by output, or by input as LyCORIS also has it. A weight w goes from W to W + w (W' - W). Merged they cost nothing
at run time. Names are read in kohya's layout, with Stability's block numbers too, and in those of diffusers from 2023
on and PEFT. Every tensor of the file has to find its place: what does not is an error, never left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from configs import UserError

from .sgm_names import diffusers_name

KEY = re.compile(r"(?P<layer>.+?)[._]lora(?:_linear_layer)?[._](?P<part>down|up|A|B)(?:\.default)?\.weight")
MORE = re.compile(r"(?P<layer>.+?)\.(?P<part>alpha|dora_scale|lora_magnitude_vector(?:\.default)?(?:\.weight)?)")
PARTS = {"down": "down", "A": "down", "up": "up", "B": "up", "alpha": "alpha"}
KOHYA = {"lora_unet_": "unet", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2", "lora_te_": "text_encoder"}
NETWORKS = ("unet", "text_encoder", "text_encoder_2")
OTHER_KINDS = {"hada_": "a LoHa", "lokr_": "a LoKr", "lora_mid": "a LoCon with a middle part", "oft_": "an OFT"}
OF_2023 = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
"""What diffusers called the layers of text encoders then."""


@dataclass
class Change:
    """Of one layer: down (rank, inputs, …), up (outputs, rank, …), a DoRA's magnitude (outputs, or inputs)."""

    down: torch.Tensor | None = None
    up: torch.Tensor | None = None
    alpha: float | None = None
    magnitude: torch.Tensor | None = None
    keys: list[str] = field(default_factory=list)

    def fits(self, weight: torch.Tensor) -> bool:
        """Whether it is whole, and of a weight of this shape."""
        if self.down is None or self.up is None:
            return False
        outputs, inputs = weight.flatten(1).shape
        rank = len(self.down)
        whole = self.down[0].numel() == inputs and len(self.up) == outputs and self.up[0].numel() == rank
        return whole and (self.magnitude is None or self.magnitude.numel() in (outputs, weight.shape[1]))

    def merged(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        """The weight under it; computed in float32, of the weight's type."""
        assert self.down is not None and self.up is not None
        before = weight.float()
        scale = 1.0 if self.alpha is None else self.alpha / len(self.down)
        changed = before + scale * (self.up.float().flatten(1) @ self.down.float().flatten(1)).view_as(before)
        if self.magnitude is not None:
            changed = _of_magnitude(changed, self.magnitude.float())
        return (before + strength * (changed - before)).to(weight.dtype)


def _of_magnitude(weight: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """Each output's weights, or each input's where the magnitude is of inputs, brought to that norm."""
    by_output = magnitude.shape[0] == weight.shape[0]
    axis = 0 if by_output else 1
    others = [each for each in range(weight.ndim) if each != axis]
    shape = [-1 if each == axis else 1 for each in range(weight.ndim)]
    return weight * (
        magnitude.view(shape) / torch.linalg.vector_norm(weight, dim=others, keepdim=True).clamp_min(1e-12)
    )


def merge(pipeline: Any, state: Mapping[str, torch.Tensor], strength: float, settings: Mapping[str, Any]) -> None:
    """Changes the pipeline's networks by the LoRA `state`. settings: PEFT's, as diffusers keeps them in the file.

    Raises:
        UserError: a tensor is no LoRA's or has no layer that it fits; nothing is changed then.
    """
    changes = _changes(pipeline, state, settings)
    misfits = [
        change.keys[0] for module, change in changes.values() if module is None or not change.fits(module.weight)
    ]
    if misfits:
        some = ", ".join(misfits[:3]) + (", …" if len(misfits) > 3 else "")
        raise UserError(
            f"{len(misfits)} of its {len(changes)} layers have no place in this model ({some}): it is for another "
            "architecture, or these must be taken out of the file"
        )
    with torch.no_grad():
        for module, change in changes.values():
            module.weight.copy_(change.merged(module.weight, strength))


def _changes(
    pipeline: Any, state: Mapping[str, torch.Tensor], settings: Mapping[str, Any]
) -> dict[tuple[str, str], tuple[Any, Change]]:
    """(module or None, change) by the network and layer that the file names."""
    layers = {
        name: dict(_layers(network)) for name in NETWORKS if (network := getattr(pipeline, name, None)) is not None
    }
    per_block = pipeline.unet.config.layers_per_block
    per_block = per_block if isinstance(per_block, int) else per_block[0]
    found: dict[tuple[str, str], tuple[Any, Change]] = {}
    for key, value in state.items():
        match = KEY.fullmatch(key) or MORE.fullmatch(key)
        if match is None:
            kind = next((kind for mark, kind in OTHER_KINDS.items() if mark in key), "no LoRA")
            raise UserError(f"its tensor {key} is of {kind}: merge that into a model with the tool that made it")
        network, layer = _place(match["layer"], per_block)
        module = layers.get(network, {}).get(layer)
        _, change = found.setdefault((network, layer), (module, Change()))
        change.keys.append(key)
        part = PARTS.get(match["part"], "magnitude")
        setattr(change, part, float(value) if part == "alpha" else value)
    for (network, layer), (_, change) in found.items():
        if change.alpha is None and change.down is not None:
            change.alpha = _peft_alpha(settings, network, layer, len(change.down))
    return found


def _place(name: str, per_block: int) -> tuple[str, str]:
    """(network, layer) that a key's beginning names; layers with "_" for "."."""
    for prefix, network in KOHYA.items():
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            return network, diffusers_name(rest, per_block) if network == "unet" else rest.removeprefix("text_model_")
    name = name.removeprefix("base_model.model.")
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


def _layers(network: Any) -> Iterator[tuple[str, Any]]:
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            yield name.removeprefix("text_model.").replace(".", "_"), module


def _peft_alpha(settings: Mapping[str, Any], network: str, layer: str, rank: int) -> float | None:
    """What PEFT's settings say of a layer; None, for 1 as the scale, where they say nothing."""
    own = {name.replace(".", "_"): each for name, each in (settings.get(f"{network}.alpha_pattern") or {}).items()}
    alpha = next((each for name, each in own.items() if layer.endswith(name)), settings.get(f"{network}.lora_alpha"))
    if alpha is None:
        return None
    return float(alpha) * (rank**0.5 if settings.get(f"{network}.use_rslora") else 1)
