"""A whole ComfyUI workflow with FreeU in it: in API format, or as ComfyUI's menu saves it.

FreeU stands right behind what loads a model, and whatever took the loader's model takes FreeU's, so that every path to
a sampler passes it once. A LoRA loader behind it changes nothing in that: ComfyUI keeps FreeU, a patch of the decoder's
outputs, apart from patches of weights, so their order has no effect. FreeU that is there already has its numbers (and
its version) replaced.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from configs import parse_json, unknown

from .comfy import samplers, transformers
from .comfy.api import ApiWorkflow
from .comfy.graph import FOREIGN_FREEU, FREEU, Graph, Key, Output, shown
from .comfy.saved import SavedWorkflow
from .comfyui import NODES, TOOL
from .preset import Preset, PresetError
from .tool import numbers

LAYOUT = "expected JSON as *Save* or *Export (API)* of ComfyUI's menu writes it"


def patch(preset: Preset, text: str, loaders: Sequence[str] = (), name: str = "the workflow") -> tuple[str, list[str]]:
    """The workflow with the preset in it, its sampling settings in the samplers behind FreeU, and what was done, a
    sentence each. All else in it stays as it is, a NaN too,
    which ComfyUI writes itself.

    loaders: the ids of the nodes that FreeU comes behind; all loaders of a model where none is named. name: the
    file's, for errors.

    Raises:
        PresetError: the node can't hold the preset; the text is no workflow, or one that can't be patched.
        UserError: one of `loaders` is no loader of a model.
    """
    TOOL.check(preset.factors)
    content = parse_json(text, name, nan=True, halves=True)
    done = _patched(_workflow(content), NODES[preset.factors.version], numbers(preset), loaders)
    done += samplers.patch(_workflow(content), preset.sampling)
    return json.dumps(content, indent=2, ensure_ascii=True) + "\n", done


def _workflow(content: Any) -> ApiWorkflow | SavedWorkflow:
    if isinstance(content, dict) and isinstance(content.get("nodes"), list) and isinstance(content.get("links"), list):
        return SavedWorkflow(content)
    nodes = content.values() if isinstance(content, dict) else ()
    if not nodes or not all(isinstance(node, dict) and "class_type" in node for node in nodes):
        raise PresetError(f"this is no ComfyUI workflow: {LAYOUT}")
    return ApiWorkflow(content)


def _patched(
    workflow: ApiWorkflow | SavedWorkflow, kind: str, values: dict[str, float], loaders: Sequence[str]
) -> list[str]:
    graph = workflow.graph()
    there = [key for key, node in graph.nodes.items() if node.kind in FREEU]
    _check(graph, there)
    behind = graph.before({key: key for key in there}, graph.carries)
    chosen, done = _chosen(graph, behind, loaders)
    if not loaders:
        for key in there:
            if key not in graph.fed:
                raise PresetError(f"{graph.name(key)} gets no model: connect it, or remove it")
            workflow.replace(key, kind, values)
            done.append(f"replaced the factors of FreeU, node {shown(key)}")
        if past := _past(graph, there, behind):
            done.append(
                f"the model comes to {graph.name(past)} without FreeU, as it did: add a node there if it should"
            )
    for source in chosen:
        new, count = workflow.insert(source, kind, values)
        inputs = f"{count} input{'s' * (count != 1)} rewired"
        done.append(f"put {kind}, node {new}, behind {graph.name(source[0])}; {inputs}")
    return done


def _check(graph: Graph, there: Sequence[Key]) -> None:
    """Raises PresetError where what is there would not be FreeU once on each path."""
    for key, node in graph.nodes.items():
        if node.kind not in FREEU and FOREIGN_FREEU.fullmatch(node.kind):
            raise PresetError(
                f"{graph.name(key)} is FreeU of another kind, which FreeU would come on top of: remove it"
            )
    following = {link.target: key for key in there for link in graph.leaving.get(key, ()) if graph.carries(link)}
    behind = graph.after(following, graph.carries)
    if (second := next((key for key in there if key in behind), None)) is not None:
        raise PresetError(f"FreeU, node {shown(second)}, stands behind FreeU, node {shown(behind[second])}: remove one")


def _chosen(graph: Graph, behind: dict[Key, Key], loaders: Sequence[str]) -> tuple[list[Output], list[str]]:
    """The outputs that FreeU comes behind, and what is to be said of those that it does not."""
    if not loaders and graph.hidden:
        key, _ = graph.hidden[0]
        raise PresetError(
            f"{graph.name(key)} hands its model on in a pipe, where FreeU can't come between: load it with a node that "
            "has an output MODEL, or name other loaders with --node"
        )
    sources = {source: shown(source[0]) for source in graph.sources}
    if not sources:
        raise PresetError("the workflow has no node that loads a model and feeds another: is it the right file?")
    for loader in loaders:
        if loader not in sources.values():
            raise unknown("loader of a model", loader, sources.values())
    wanted = [source for source, name in sources.items() if not loaders or name in loaders]
    refused = {source: mark for source, mark in transformers.found(graph).items() if source in wanted}
    why = [
        f"{graph.name(source[0])} loads a model without skip connections, which FreeU would do nothing to, as "
        f"{graph.name(mark)} tells"
        for source, mark in refused.items()
    ]
    if refused and (loaders or len(refused) == len(wanted)):
        raise PresetError(why[0])
    if loaders and (twice := next((source for source in wanted if source[0] in behind), None)) is not None:
        raise PresetError(
            f"FreeU (node {shown(behind[twice[0]])}) stands behind loader {shown(twice[0])} already: leave out --node "
            "to replace its factors"
        )
    return [each for each in wanted if each not in refused and each[0] not in behind], [
        f"left out: {one}" for one in why
    ]


def _past(graph: Graph, there: Sequence[Key], behind: dict[Key, Key]) -> Key | None:
    """A node at the end of a path that has no FreeU, from a source with FreeU on another."""
    start = {source[0]: source[0] for source in graph.sources if source[0] in behind}
    reached = graph.after(start, lambda link: graph.carries(link) and link.target not in there)
    ends = (key for key in reached if key in graph.nodes and not any(map(graph.carries, graph.leaving.get(key, ()))))
    return next(ends, None)
