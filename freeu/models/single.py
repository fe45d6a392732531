"""Single-file checkpoints, as model sites give them out: what is inside, told from the header alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from configs import UserError
from configs import read_safetensors_header as header

from . import refusals

TEXT_KEYS = "model.diffusion_model.input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"
XL, XL_REFINER = (f"conditioner.embedders.{i}.model.transformer.resblocks.9.mlp.c_proj.bias" for i in (1, 0))

ORIGINAL = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}
"""How a network's tensors begin in the one file of a whole model."""
ALSO = {"unet": ("diffusion_model.", "unet."), "vae": ("vae.",)}
"""In files of other tools."""


def prefix_of(names: Collection[str], part: str) -> str:
    """How the tensors of one network, "unet" or "vae", begin in a file; "" where it stands alone there."""
    prefixes = (ORIGINAL[part], *ALSO[part])
    return next((each for each in prefixes if any(name.startswith(each) for name in names)), "")


def text_width(file: Path) -> int | None:
    """How wide the text embeddings are that its U-Net takes; None where it has another layout."""
    found = header(file)
    return next((found[key]["shape"][-1] for block in range(1, 12) if (key := TEXT_KEYS.format(block)) in found), None)


def nearest(file: Path) -> str:
    """The model of configs/models whose architecture the file has.

    Raises:
        UserError: it holds something else than a Stable Diffusion 1, 2 or XL in the original layout.
    """
    found = header(file)
    refusals.check_contents(file, found)
    if XL in found:
        return "sdxl"
    if XL_REFINER in found:
        raise UserError(f"{file} is SDXL's refiner: it makes no images from text alone")
    for block in range(1, 12):
        if (key := TEXT_KEYS.format(block)) in found:
            # 1024 is the text width of OpenCLIP's encoder in SD 2, 768 that of CLIP's in SD 1.
            return "sd21" if found[key]["shape"][-1] == 1024 else "sd15"
    raise refusals.no_checkpoint(file, found)
