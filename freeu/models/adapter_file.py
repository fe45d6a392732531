"""A T2I-Adapter from one safetensors file, in the layout of the authors' code or in diffusers': whole, or an error.

The file holds tensors alone; their names and shapes tell the architecture. An adapter that folds its picture by 16
pixels into a cell is SDXL's, by fewer Stable Diffusion's. Of the authors' full adapters each level has two blocks,
numbered through.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .single import header

if TYPE_CHECKING:
    import torch

XL = 16
BLOCKS = 2
"""Of each level of the authors' full adapters."""
LIGHT = re.compile(r"body\.(\d+)\.(?:body\.(\d+)\.)?(.+)")
FULL = re.compile(r"body\.(\d+)\.(.+)")
NONE = "it holds no T2I-Adapter, or not all of one"


def config(file: Path) -> dict[str, Any]:
    """What its config.json would say, by its header alone. Raises ValueError where it holds no such network."""
    return _config({name: tuple(each["shape"]) for name, each in header(file).items()})


def read(file: Path, dtype: torch.dtype) -> Any:
    """The network.

    Raises:
        ValueError: it holds no such network, or some of it is missing.
    """
    from diffusers import T2IAdapter
    from safetensors.torch import load_file

    state = load_file(file)
    made = _config({name: tuple(each.shape) for name, each in state.items()})
    network = T2IAdapter(**made)
    found, own = {_renamed(name, state.keys()): each for name, each in state.items()}, network.state_dict()
    wrong = [name for name in own if name not in found or found[name].shape != own[name].shape]
    if more := [*wrong, *(found.keys() - own.keys())]:
        raise ValueError(f"{NONE}: {len(more)} of its tensors have no place ({', '.join(sorted(more)[:3])})")
    network.load_state_dict(found)
    return network.to(dtype).eval()


def _config(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    named = {_renamed(name, shapes.keys()): shape for name, shape in shapes.items()}
    light = "adapter.body.0.out_conv.weight" in named
    last = "out_conv" if light else "resnets.0.block1"
    try:
        first = named["adapter.body.0.in_conv.weight" if light else "adapter.conv_in.weight"][1]
        levels = 1 + max(int(name.split(".")[2]) for name in named if name.startswith("adapter.body."))
        widths = [named[f"adapter.body.{level}.{last}.weight"][0] for level in range(levels)]
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(NONE) from error
    channels = 3 if first % 3 == 0 else 1
    folded = math.isqrt(first // channels)
    kind = "light_adapter" if light else "full_adapter_xl" if folded >= XL else "full_adapter"
    return {
        "in_channels": channels,
        "channels": widths[:-1] if light else widths,
        "num_res_blocks": len({name.split(".")[4] for name in named if name.startswith("adapter.body.0.resnets.")}),
        "downscale_factor": folded,
        "adapter_type": kind,
    }


def _renamed(name: str, names: Any) -> str:
    """As diffusers calls it."""
    if name.startswith("adapter."):
        return name
    if "body.0.out_conv.weight" in names and (found := LIGHT.fullmatch(name)):
        level, block, rest = found.groups()
        return f"adapter.body.{level}.{f'resnets.{block}.' if block else ''}{rest}"
    if found := FULL.fullmatch(name):
        level, block = divmod(int(found[1]), BLOCKS)
        inside = "" if found[2].startswith("in_conv.") else f"resnets.{block}."
        return f"adapter.body.{level}.{inside}{found[2]}"
    return f"adapter.{name}"
