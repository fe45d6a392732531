"""ComfyUI's nodes FreeU (version 1) and FreeU_V2 (version 2), stages by width, in its API format.

The node takes the model of node "4", the checkpoint loader of ComfyUI's default workflow. Whatever took the model
from there has to take it from ["freeu", 0] instead.
"""

from __future__ import annotations

import json

from . import Preset, PresetError, refuse_controls

NODES = {"v1": "FreeU", "v2": "FreeU_V2"}
LOWEST, HIGHEST = 0.0, 10.0
LOADER, NODE = "4", "freeu"


def render(preset: Preset) -> str:
    """JSON of one node.

    Raises:
        PresetError: the nodes can't hold these factors.
    """
    f = preset.factors
    if f.stages != "width":
        raise PresetError(
            f"ComfyUI's FreeU finds its stages by width, and this preset's are by {f.stages}: the same numbers "
            "would be another method there. Search for ComfyUI with --stages width; in Python, use "
            '--format yaml and freeu.enable(pipe, "FILE")'
        )
    refuse_controls(preset, "ComfyUI's FreeU")
    numbers = {name: getattr(f, name) for name in ("b1", "b2", "s1", "s2")}
    outside = [f"{name} = {value:g}" for name, value in numbers.items() if not LOWEST <= value <= HIGHEST]
    if outside:
        raise PresetError(
            f"ComfyUI's FreeU takes factors from {LOWEST:g} to {HIGHEST:g}, and this preset has "
            f"{', '.join(outside)}: "
            'choose another pick; in Python, use --format yaml and freeu.enable(pipe, "FILE")'
        )
    node = NODES[f.version]
    inputs = {"model": [LOADER, 0], **numbers}
    return json.dumps({NODE: {"class_type": node, "inputs": inputs, "_meta": {"title": node}}}, indent=2) + "\n"
