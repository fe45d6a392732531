"""Refiners' SDFreeUAdapter: version 1, a factor for each concatenation of the decoder, so either stage convention.

The concatenations of a stage are known by the architecture (see docs/freeu.md): Stable Diffusion 1 and 2 have twelve,
SDXL has nine. What is behind the second stage is left out; the adapter leaves it alone.
"""

from __future__ import annotations

from .preset import Preset
from .tool import Tool

TOOL = Tool("Refiners' FreeU", versions=("v1",))
FILE = "refiners_freeu.py"
PLACE = (
    "beside your script: `from refiners_freeu import apply; apply(unet)`, with the `SD1UNet` or `SDXLUNet` of Refiners"
)
SITES = {"width": {12: (7, 3), 9: (4, 3)}, "block": {12: (3, 3), 9: (3, 3)}}
"""Concatenations in all → how many are of stage 1, and how many after these of stage 2."""


def render(preset: Preset) -> str:
    """A Python module with one function. Raises PresetError: the adapter can't hold these factors."""
    f = preset.factors
    TOOL.check(f)
    return (
        f"# FreeU factors for {preset.model!a}: version 1, stages by {f.stages}, a factor for each concatenation.\n"
        f"{preset.comment}"
        "from refiners.foundationals.latent_diffusion.freeu import SDFreeUAdapter\n\n"
        f"STAGES = {SITES[f.stages]!r}  # by the number of concatenations: those of stage 1, of stage 2\n\n\n"
        "def apply(unet):\n"
        '    """Switches FreeU on; `.eject()` of what is returned switches it off."""\n'
        "    first, second = STAGES[len(unet.UpBlocks)]\n"
        f"    backbone = [{f.b1!r}] * first + [{f.b2!r}] * second\n"
        f"    skip = [{f.s1!r}] * first + [{f.s2!r}] * second\n"
        "    return SDFreeUAdapter(unet, backbone_scales=backbone, skip_scales=skip).inject()\n"
    )
