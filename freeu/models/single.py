"""Single-file checkpoints, as model sites give them out: what is inside, told from the header alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configs import UserError, quoted
from configs import read_safetensors_header as header

TEXT_KEYS = "model.diffusion_model.input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"
XL, XL_REFINER = (f"conditioner.embedders.{i}.model.transformer.resblocks.9.mlp.c_proj.bias" for i in (1, 0))


def noising(file: Path) -> dict[str, Any]:
    """What the file says of how it was trained on noise, as changes to a scheduler's config; mostly nothing.

    The keys `v_pred` and `ztsnr` are empty tensors, put there for other programs; the metadata is Stability's ModelSpec
    (github.com/Stability-AI/ModelSpec). Noise without a rest of the image (`ztsnr`) is sampled from the last timestep
    on (Lin et al., arXiv 2305.08891, section 3.3).

    Raises:
        UserError: as `configs.read_safetensors_header`.
    """
    found = header(file)
    said = str((found.get("__metadata__") or {}).get("modelspec.prediction_type"))
    kind = "v_prediction" if "v_pred" in found else {"v": "v_prediction", "epsilon": "epsilon"}.get(said)
    changes: dict[str, Any] = {} if kind is None else {"prediction_type": kind}
    if "ztsnr" in found:
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return changes


def nearest(file: Path) -> str:
    """The model of configs/models whose architecture the file has.

    Raises:
        UserError: it holds something else than a Stable Diffusion 1, 2 or XL in the original layout.
    """
    found = header(file)
    if XL in found:
        return "sdxl"
    if XL_REFINER in found:
        raise UserError(f"{file} is SDXL's refiner: it makes no images from text alone")
    for block in range(1, 12):
        if (key := TEXT_KEYS.format(block)) in found:
            # 1024 is the text width of OpenCLIP's encoder in SD 2, 768 that of CLIP's in SD 1.
            return "sd21" if found[key]["shape"][-1] == 1024 else "sd15"
    some = ", ".join(map(quoted, list(found)[:3]))
    raise UserError(
        f"{file} holds no Stable Diffusion checkpoint in the original layout (but {some}, …): a U-Net alone goes to "
        "--unet, a LoRA to --lora, a pipeline in diffusers' format is a folder"
    )
