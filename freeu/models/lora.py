"""LoRAs (Hu et al., arXiv 2106.09685) and DoRAs (Liu et al., arXiv 2402.09353), merged into the weights.

A layer's change is alpha / rank · up · down. A DoRA gives a magnitude m beside it: W' = m · V / |V| for V = W + change,
norms by output, or by input as LyCORIS also has it. A weight w goes from W to W + w (W' - W). Merged they cost nothing
at run time. Which layer a tensor is of is told by `.lora_layers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .lora_layers import NETWORKS, check, layers_of


@dataclass(frozen=True)
class Change:
    """Of one layer: down (rank, inputs, …), up (outputs, rank, …), a DoRA's magnitude (outputs, or inputs)."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float | None = None
    magnitude: torch.Tensor | None = None

    def merged(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        """The weight under it; computed in float32, of the weight's type."""
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
    modules = {
        name: dict(_layers(network)) for name in NETWORKS if (network := getattr(pipeline, name, None)) is not None
    }
    per_block = pipeline.unet.config.layers_per_block
    layers = layers_of(state, per_block if isinstance(per_block, int) else per_block[0])
    check(
        layers,
        {name: value.shape for name, value in state.items()},
        {name: {layer: module.weight.shape for layer, module in found.items()} for name, found in modules.items()},
    )
    with torch.no_grad():
        for (network, layer), names in layers.items():
            parts: dict[str, Any] = {part: state[name] for part, name in names.items()}
            alpha = float(parts.pop("alpha")) if "alpha" in parts else None
            if alpha is None:
                alpha = _peft_alpha(settings, network, layer, len(parts["down"]))
            weight = modules[network][layer].weight
            weight.copy_(Change(**parts, alpha=alpha).merged(weight, strength))


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
