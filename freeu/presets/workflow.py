"""A whole ComfyUI workflow with FreeU in it: in API format, or as ComfyUI's menu saves it.

FreeU stands right behind a model's loader, and whatever took the loader's model takes FreeU's. A LoRA loader behind it
changes nothing in that: ComfyUI keeps FreeU, a patch of the decoder's outputs, apart from patches of weights, so their
order has no effect. Where a workflow has FreeU already, only its numbers (and its version) are replaced.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from configs import unknown

from . import jsons
from .comfyui import NODES, TOOL
from .preset import Preset, PresetError
from .tool import numbers

MODEL_INPUT = re.compile(r"(base_|refiner_)?model\d*")
"""Not upscale_model, style_model and other things that are no diffusion model."""


def patch(preset: Preset, text: str, loaders: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The workflow with the preset in it, and what was done, a sentence each.

    loaders: the ids of the nodes that FreeU comes behind; all loaders of a model where none is named.

    Raises:
        PresetError: the node can't hold the preset; the text is no workflow, or one that can't be patched.
        UserError: one of `loaders` is no loader of a model.
    """
    TOOL.check(preset.factors)
    workflow = copy.deepcopy(jsons.mapping(text))
    if isinstance(workflow.get("nodes"), list) and isinstance(workflow.get("links"), list):
        done = _saved(preset, workflow, loaders)
    elif workflow and all(isinstance(node, dict) and "class_type" in node for node in workflow.values()):
        done = _api(preset, workflow, loaders)
    else:
        raise PresetError(
            "this is no ComfyUI workflow: expected JSON as *Save* or *Export (API)* of ComfyUI's menu writes it"
        )
    return jsons.written(workflow), done


def _api(preset: Preset, workflow: dict[str, Any], loaders: Sequence[str]) -> list[str]:
    node = NODES[preset.factors.version]
    for key, each in workflow.items():
        if not isinstance(each.get("inputs"), dict):
            raise PresetError(f"node {key} of the workflow has no inputs: it is damaged")
    there = [key for key, each in workflow.items() if each["class_type"] in NODES.values()]
    if there and not loaders:
        for key in there:
            workflow[key]["class_type"] = node
            workflow[key]["inputs"] |= numbers(preset)
            if isinstance(workflow[key].get("_meta"), dict):
                workflow[key]["_meta"]["title"] = node
        return [_replaced(key) for key in there]
    links = [
        (key, name, str(value[0]), value[1])
        for key, each in workflow.items()
        for name, value in each["inputs"].items()
        if MODEL_INPUT.fullmatch(name) and isinstance(value, list) and len(value) == 2
    ]
    fed = {key for key, *_ in links}
    known = {
        source: slot
        for _, _, source, slot in links
        if source in workflow and source not in fed and "load" in str(workflow[source]["class_type"]).lower()
    }
    done = []
    for loader in _chosen(known, loaders):
        behind = [(key, name) for key, name, source, slot in links if (source, slot) == (loader, known[loader])]
        _not_twice(loader, [key for key, _ in behind if key in there])
        new = _free(workflow)
        inputs = {"model": [loader, known[loader]], **numbers(preset)}
        workflow[new] = {"inputs": inputs, "class_type": node, "_meta": {"title": node}}
        for key, name in behind:
            workflow[key]["inputs"][name] = [new, 0]
        done.append(_inserted(node, new, loader, len(behind)))
    return done


def _saved(preset: Preset, workflow: dict[str, Any], loaders: Sequence[str]) -> list[str]:
    node, nodes, links = NODES[preset.factors.version], workflow["nodes"], workflow["links"]
    definitions = workflow.get("definitions")
    if isinstance(definitions, dict) and definitions.get("subgraphs"):
        raise PresetError("the workflow has subgraphs: export it in API format (*Export (API)*) and give that file")
    if not all(isinstance(link, list) and len(link) == 6 for link in links) or not all(
        isinstance(each, dict) and "id" in each and "type" in each for each in nodes
    ):
        raise PresetError("the workflow's nodes or links are of a layout that is not known: give it in API format")
    values = list(numbers(preset).values())
    there = [each for each in nodes if each["type"] in NODES.values()]
    if there and not loaders:
        for each in there:
            if any(one.get("name") != "model" and one.get("link") is not None for one in each.get("inputs", [])):
                raise PresetError(f"node {each['id']} takes factors from other nodes: remove those links first")
            each |= {"type": node, "widgets_values": values, "mode": 0}
            each["properties"] = {**each.get("properties", {}), "Node name for S&R": node}
        return [_replaced(each["id"]) for each in there]
    by_id = {str(each["id"]): each for each in nodes}
    fed = {str(link[3]) for link in links if link[5] == "MODEL"}
    known = {str(link[1]): link[2] for link in links if link[5] == "MODEL" and str(link[1]) not in fed}
    done = []
    for loader in _chosen({key: slot for key, slot in known.items() if key in by_id}, loaders):
        source, slot = by_id[loader], known[loader]
        behind = [link for link in links if (str(link[1]), link[2], link[5]) == (loader, slot, "MODEL")]
        _not_twice(loader, [str(link[3]) for link in behind if by_id.get(str(link[3])) in there])
        new = 1 + max([_whole(workflow.get("last_node_id")), *(_whole(each["id"]) for each in nodes)])
        link = 1 + max([_whole(workflow.get("last_link_id")), *(_whole(each[0]) for each in links)])
        x, y = _position(source)
        nodes.append(
            {
                "id": new,
                "type": node,
                "pos": [x, y - 200],
                "size": [315, 130],
                "flags": {},
                "order": source.get("order", 0),
                "mode": 0,
                "inputs": [{"name": "model", "type": "MODEL", "link": link}],
                "outputs": [{"name": "MODEL", "type": "MODEL", "links": [each[0] for each in behind], "slot_index": 0}],
                "properties": {"Node name for S&R": node},
                "widgets_values": values,
            }
        )
        source["outputs"][slot]["links"] = [link]
        for each in behind:
            each[1:3] = [new, 0]
        links.append([link, source["id"], slot, new, 0, "MODEL"])
        workflow |= {"last_node_id": new, "last_link_id": link}
        done.append(_inserted(node, new, loader, len(behind)))
    return done


def _chosen(known: dict[str, Any], loaders: Sequence[str]) -> list[str]:
    if not known:
        raise PresetError("the workflow has no node that loads a model and feeds another: is it the right file?")
    for loader in loaders:
        if loader not in known:
            raise unknown("loader of a model", loader, known)
    return list(dict.fromkeys(loaders)) or list(known)


def _not_twice(loader: str, there: Sequence[str]) -> None:
    if there:
        raise PresetError(
            f"FreeU (node {', '.join(there)}) stands behind loader {loader} already: leave out --node to replace "
            "its factors"
        )


def _free(workflow: dict[str, Any]) -> str:
    return str(1 + max([0, *(int(key) for key in workflow if key.isdecimal())]))


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _position(node: dict[str, Any]) -> tuple[float, float]:
    """Saved as a list, and by older versions as a mapping of "0" and "1"."""
    place = node.get("pos")
    if isinstance(place, dict):
        place = list(place.values())
    return (place[0], place[1]) if isinstance(place, list) and len(place) > 1 else (0, 0)


def _replaced(key: Any) -> str:
    return f"replaced the factors of FreeU, node {key}"


def _inserted(node: str, new: Any, loader: str, behind: int) -> str:
    return f"put {node}, node {new}, behind loader {loader}; {behind} input{'s' * (behind != 1)} rewired"
