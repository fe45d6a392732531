"""One network, a U-Net or a VAE, from a diffusers folder or a single file: whole, or an error.

diffusers only logs a weight that is missing and goes on with random numbers. Weights in float8 with a scale beside
them (`KEY.scale_weight` as ComfyUI has it, or `KEY.weight_scale`) are multiplied by it here; diffusers would read them
without.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from configs import UserError

from .single import ORIGINAL, prefix_of

SCALES = (".scale_weight", ".weight_scale")
UNUSED = (*SCALES, ".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def of_folder(kind: Any, folder: Path, dtype: torch.dtype, variant: str | None = None) -> Any:
    """The network in a diffusers folder. kind: its class.

    Raises:
        UserError: some of its weights are not there.
    """
    how: dict[str, Any] = {"dtype": dtype, "variant": variant, "local_files_only": True}
    found, told = kind.from_pretrained(folder, output_loading_info=True, **how)
    lost = sorted(told["missing_keys"])
    if lost:
        some = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        raise UserError(f"{folder} lacks {len(lost)} of the network's weights ({some})")
    return found.eval()


def of_file(kind: Any, file: Path, part: str, layout: Path, dtype: torch.dtype) -> Any:
    """The network that a safetensors file holds, alone or in a whole model; in the original layout or in diffusers'.

    part: "unet" or "vae". layout: a folder with the config.json of such a network.

    Raises:
        UserError: some of its weights are not there, or are scaled by blocks.
    """
    from diffusers.loaders.single_file_utils import SingleFileComponentError

    state = tensors(file, part)
    if not any("down_blocks." in name for name in state):  # the original layout, which is told by its prefix
        state = {ORIGINAL[part] + name: value for name, value in state.items()}
    try:
        return kind.from_single_file(state, config=str(layout), dtype=dtype, local_files_only=True).eval()
    except (NotImplementedError, SingleFileComponentError) as error:
        # The first is of a weight that is not there: it stays a tensor without data, which can't be moved.
        raise UserError(f"{file} lacks some of the weights of this model's {part}") from error


def tensors(file: Path, part: str) -> dict[str, torch.Tensor]:
    """Those of one network in the file, without their prefix, and scaled.

    Raises:
        UserError: they are scaled by blocks.
    """
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        names = list(opened.keys())
        prefix = prefix_of(names, part)
        found = {name.removeprefix(prefix): opened.get_tensor(name) for name in names if name.startswith(prefix)}
    return {name: _scaled(found, name, file) for name in found if not name.endswith(UNUSED)}


def _scaled(found: Mapping[str, torch.Tensor], name: str, file: Path) -> torch.Tensor:
    value = found[name]
    scales = [found[key] for end in SCALES if (key := name.removesuffix(".weight") + end) in found]
    if not scales or value.dtype not in FLOAT8:
        return value
    scale = scales[0].float()
    if scale.numel() not in (1, len(value)):
        raise UserError(f"{file}: the scale of {name} is by blocks {tuple(scale.shape)}: give the model in 16 bit")
    return value.float() * scale.reshape(-1, *[1] * (value.ndim - 1))
