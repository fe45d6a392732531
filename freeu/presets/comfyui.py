"""ComfyUI's nodes FreeU (version 1) and FreeU_V2 (version 2), stages by width, in its API format.

The node takes the model of node "4", the checkpoint loader of ComfyUI's default workflow. Whatever took the model
from there has to take it from ["freeu", 0] instead: workflow.py does that to a whole workflow.
"""

from __future__ import annotations

from typing import Any

from . import jsons
from .preset import Preset, PresetError
from .tool import Tool, found, numbers

TOOL = Tool("ComfyUI's FreeU", stages=("width",), b=(0, 10), s=(0, 10))
NODES = {"v1": "FreeU", "v2": "FreeU_V2"}
LOADER, NODE = "4", "freeu"
FILE = "comfyui.json"
PLACE = (
    "one node for a workflow in API format; `--workflow FILE` puts it into a workflow of yours. By hand: add the node "
    "FreeU_V2 (version v2) or FreeU (v1) behind the model loader and type the four numbers"
)


def _saved(workflow: dict[str, Any]) -> list[Any]:
    """The nodes of a workflow as the editor saves it, those of its subgraphs too."""
    definitions = workflow.get("definitions")
    inner = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    bodies = [workflow, *(inner if isinstance(inner, list) else [])]
    found = [body.get("nodes") for body in bodies if isinstance(body, dict)]
    return [node for nodes in found if isinstance(nodes, list) for node in nodes]


def render(preset: Preset) -> str:
    """JSON of one node.

    Raises:
        PresetError: the nodes can't hold these factors.
    """
    TOOL.check(preset.factors)
    node = NODES[preset.factors.version]
    inputs = {"model": [LOADER, 0], **numbers(preset)}
    return jsons.written({NODE: {"class_type": node, "inputs": inputs, "_meta": {"title": node}}})


def parse(text: str) -> dict[str, Preset]:
    """The factors of the FreeU nodes of a workflow, in API format or as ComfyUI saves it, by the nodes' ids."""
    versions: dict[Any, Any] = {node: version for version, node in NODES.items()}
    workflow, presets = jsons.mapping(text), {}
    nodes: dict[str, tuple[Any, Any]] = {
        str(key): (node["class_type"], node.get("inputs"))
        for key, node in workflow.items()
        if isinstance(node, dict) and node.get("class_type") in ("FreeU", "FreeU_V2")
    }
    for node in _saved(workflow):
        if isinstance(node, dict) and node.get("type") in ("FreeU", "FreeU_V2"):
            values = node.get("widgets_values")
            pairs = zip(("b1", "b2", "s1", "s2"), values, strict=False) if isinstance(values, list) else ()
            nodes[str(node.get("id"))] = (node["type"], dict(pairs))
    for key, (kind, values) in nodes.items():
        if not isinstance(values, dict):
            raise PresetError(f"node {key} ({kind}) has no inputs")
        presets[key if len(nodes) > 1 else ""] = found(values, versions[kind], "width")
    return presets
