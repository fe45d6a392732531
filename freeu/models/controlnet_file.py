"""A ControlNet from one safetensors file, in the layout of the original code or in diffusers': whole, or an error.

What the file doesn't say of its architecture is that of the model's own U-Net, whose encoder a ControlNet copies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

HINT = "controlnet_cond_embedding."


def read(file: Path, unet: Any, dtype: torch.dtype) -> Any:
    """The network. unet: of the model that it is to hold.

    Raises:
        ValueError: it is for another architecture, or some of it is missing.
    """
    from diffusers import ControlNetModel
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
    from safetensors.torch import load_file

    state = load_file(file)
    try:
        state = convert_controlnet_checkpoint(state, unet.config)
        blocks = sum(name.startswith(f"{HINT}blocks.") and name.endswith(".weight") for name in state)
        channels = [state[f"{HINT}conv_in.weight"], *(state[f"{HINT}blocks.{i}.weight"] for i in range(1, blocks, 2))]
    except (KeyError, AttributeError, IndexError) as error:
        raise ValueError("it holds no ControlNet, or not all of one") from error
    network = ControlNetModel.from_unet(
        unet,
        conditioning_embedding_out_channels=tuple(len(each) for each in channels),
        load_weights_from_unet=False,
    )
    own = network.state_dict()
    lost = [name for name in own if name not in state or state[name] is None]
    other = [name for name in own if name not in lost and state[name].shape != own[name].shape]
    foreign = [name for name in state if name not in own]
    if lost or other or foreign:
        some = ", ".join([*other, *lost, *foreign][:3])
        raise ValueError(
            f"it is for another architecture than the model: {len(other)} of its tensors have another shape, "
            f"{len(lost)} are missing, {len(foreign)} have no place ({some})"
        )
    network.load_state_dict(state)
    return network.to(dtype).eval()
