"""InvokeAI's node `freeu`: diffusers' FreeU, so version 1 with stages by block, and no factor of 0."""

from __future__ import annotations

from typing import Any

from . import jsons
from .preset import Preset
from .tool import NUMBERS, Tool, found, numbers

TOOL = Tool("InvokeAI's FreeU", versions=("v1",), stages=("block",), b=(-1, 3), s=(-1, 3), zero=False)
FILE = "invokeai.json"
PLACE = (
    "a node for the `nodes` of an InvokeAI graph; in the workflow editor add the node *FreeU* between the model "
    "loader's UNet and the denoising, and type the four numbers"
)


def render(preset: Preset) -> str:
    """JSON of one node. Raises PresetError: InvokeAI can't hold these factors."""
    TOOL.check(preset.factors)
    return jsons.written({"freeu": {"id": "freeu", "type": "freeu", **numbers(preset)}})


def parse(text: str) -> dict[str, Preset]:
    """The factors of the nodes of type `freeu` in a graph, or in a workflow as the editor saves it, by their ids."""
    nodes = [one for one in jsons.mappings(jsons.mapping(text)) if one.get("type") == "freeu"]
    return {
        f"{number} {node.get('id', '')}" if len(nodes) > 1 else "": found(_values(node), "v1", "block")
        for number, node in enumerate(nodes, 1)
    }


def _values(node: dict[str, Any]) -> dict[str, Any]:
    inputs = node["inputs"] if isinstance(node.get("inputs"), dict) else node
    values = {name: inputs[name] for name in NUMBERS if name in inputs}
    return {name: each.get("value") if isinstance(each, dict) else each for name, each in values.items()}
