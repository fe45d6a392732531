"""What the small distribution `freeu` keeps: `python tests/freeu_package.py` in an environment that has it, and torch.

With diffusers also that v1 by block is diffusers' own. Imports nothing of this repository.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import freeu
from freeu import presets

FACTORS = {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2}


def unet() -> Any:
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()


def check_one_name() -> None:
    assert "configs" not in sys.modules and "search" not in sys.modules
    assert set(freeu.__all__) == set(dir(freeu)) and all(hasattr(freeu, name) for name in freeu.__all__)


def check_the_concatenation() -> None:
    """v1 by its formula: half of the backbone's channels by b, the skip's low frequencies by s."""
    torch.manual_seed(0)
    hidden, skip = torch.randn(2, 8, 6, 6), torch.randn(2, 4, 6, 6)
    more, less = freeu.modulate(hidden, skip, 1.5, 0.5, version="v1")
    assert torch.equal(more[:, 4:], hidden[:, 4:]) and torch.allclose(more[:, :4], 1.5 * hidden[:, :4])
    spectrum = torch.fft.fftshift(torch.fft.fftn(skip, dim=(-2, -1)), dim=(-2, -1))
    spectrum[..., 2:4, 2:4] *= 0.5
    wanted = torch.fft.ifftn(torch.fft.ifftshift(spectrum, dim=(-2, -1)), dim=(-2, -1)).real
    assert torch.allclose(less, wanted, atol=1e-5)


def check_against_diffusers() -> None:
    """v1 by block is diffusers' own; afterwards the U-Net is bit for bit what it was."""
    model, latents, words = unet(), torch.randn(2, 4, 8, 8), torch.randn(2, 5, 16)

    def predicted() -> torch.Tensor:
        with torch.no_grad():
            return model(latents, 10, words).sample

    before = predicted()
    with freeu.applied(model, freeu.Factors(**FACTORS, version="v1", stages="block")):
        ours = predicted()
    assert torch.equal(predicted(), before) and not torch.equal(ours, before)
    model.enable_freeu(**FACTORS)
    assert torch.allclose(predicted(), ours, atol=1e-5)
    model.disable_freeu()
    for version in ("v1", "v2"):
        controls = freeu.Controls(start=0.0, stop=1.0, high=1.1)
        with freeu.applied(model, freeu.Factors(**FACTORS, version=version, controls=controls)):
            assert torch.isfinite(predicted()).all()
    freeu.enable(model, freeu.Factors(**FACTORS))
    freeu.disable(model)
    assert torch.equal(predicted(), before)


def check_presets() -> None:
    for version, stages in (("v2", "width"), ("v1", "block")):
        preset = presets.Preset(factors=freeu.Factors(**FACTORS, version=version, stages=stages), model="sd15")
        with tempfile.TemporaryDirectory() as folder:
            for format in presets.FORMATS:
                try:
                    text = presets.render(preset, format)
                except presets.PresetError:  # the tool has the other version
                    continue
                assert text
                if format in ("yaml", "comfyui"):
                    presets.write(preset, Path(folder, f"a.{format}"), format)
                    assert presets.read(Path(folder, f"a.{format}")).factors == preset.factors


def main() -> None:
    checks = [check_one_name, check_the_concatenation, check_presets]
    if importlib.util.find_spec("diffusers") is not None:
        checks.append(check_against_diffusers)
    for check in checks:
        check()
        print("ok", check.__name__)
    print("torch", torch.__version__, "from", Path(freeu.__file__).parent)


if __name__ == "__main__":
    main()
