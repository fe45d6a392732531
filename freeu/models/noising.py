"""What a safetensors file says of how its U-Net was trained on noise. Read from its header, and from tensors of a few
numbers; a file that says nothing was trained as its architecture's first model.

- `v_pred` and `ztsnr`, empty tensors put there for other programs: v-prediction, and noise without a rest of the image,
  which is sampled from the last timestep on (Lin et al., arXiv 2305.08891, section 3.3).
- `edm_vpred.sigma_max` and `edm_vpred.sigma_min` (CosXL), `edm_mean` and `edm_std` (Playground 2.5, whose latents are
  normalised by them): EDM's formulation (Karras et al., arXiv 2206.00364), of v in CosXL.
- In the metadata `modelspec.prediction_type` (github.com/Stability-AI/ModelSpec) and, from ComfyUI,
  `modelspec.predict_key`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configs import UserError

from .single import header
from .spec import ModelSpec

SAID = {"v": "v_prediction", "epsilon": "epsilon"}
METADATA = ("modelspec.prediction_type", "modelspec.predict_key")
PLAYGROUND = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}
"""As its authors' scheduler has it; the factor of its VAE's latents is 0.5."""


def noising(file: Path) -> tuple[str | None, dict[str, Any]]:
    """(scheduler, changes to its config): the scheduler that the U-Net needs, as `ModelSpec.scheduler`, or None.

    Raises:
        UserError: as `freeu.models.single.header`.
    """
    found = header(file)
    if "edm_vpred.sigma_max" in found:
        low = _numbers(file, "edm_vpred.sigma_min")[0] if "edm_vpred.sigma_min" in found else 0.002
        sigmas = {"sigma_min": low, "sigma_max": _numbers(file, "edm_vpred.sigma_max")[0], "sigma_data": 1.0}
        return "edm", sigmas | {"prediction_type": "v_prediction", "sigma_schedule": "exponential"}
    if _is_playground(found):
        return "edm", dict(PLAYGROUND)
    metadata = found.get("__metadata__") or {}
    said = next((SAID[text] for key in METADATA if (text := str(metadata.get(key))) in SAID), None)
    kind = "v_prediction" if "v_pred" in found else said
    changes: dict[str, Any] = {} if kind is None else {"prediction_type": kind}
    if "ztsnr" in found:
        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return None, changes


def files_of_unet(spec: ModelSpec) -> list[Path]:
    """The single files that a model's U-Net comes from; what the last one says holds."""
    places = [spec.folder, *([spec.base / spec.unet] if spec.unet else [])]
    return [place for place in places if place.is_file()]


def latents(file: Path) -> dict[str, Any]:
    """What the VAE's config has to say of the latents, where the U-Net was trained on normalised ones; else nothing."""
    if not _is_playground(header(file)):
        return {}
    mean, std = _numbers(file, "edm_mean"), _numbers(file, "edm_std")
    return {"latents_mean": mean, "latents_std": std, "scaling_factor": 0.5}


def _is_playground(found: dict[str, Any]) -> bool:
    return "edm_mean" in found and "edm_std" in found


def _numbers(file: Path, name: str) -> list[float]:
    from safetensors import safe_open

    try:
        with safe_open(file, "numpy") as opened:
            return [float(each) for each in opened.get_tensor(name).ravel()]
    except Exception as error:  # a type of numbers that numpy lacks, say
        raise UserError(f"{file}: can't read its tensor {name}: {error}") from error
