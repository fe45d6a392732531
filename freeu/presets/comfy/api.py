"""Workflows in API format: nodes by id, whose inputs are values or [id, slot] of another node's output.

Outputs have no types there, so a link's is told by the name of the input, and all links of an output are of one. What
leaves a switch as a model went into it as one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from configs import quoted

from ..preset import PresetError
from .graph import VIRTUAL, Graph, Key, Kind, Link, Node, Output

MODEL = re.compile(r"(base_|basic_|refiner_)?model(_?\d+|_opt|_override)?")
"""Not upscale_model, style_model and other things that are no diffusion model."""
PIPE = re.compile(r"(\w+_)?pipe|(base_)?ctx(_\d+)?|sdxl_tuple|bus")
PICTURE = re.compile(r"(\w+_)?(latent|image|sample|pixel|mask)s?(_?\w+)?")
BRANCH = re.compile(r"_?(\d+|true|false)$")
"""How a switch tells its inputs apart: any_01, input2, on_true."""
OTHER = re.compile(r"(\w+_)?(clip|vae|positive|negative|conditioning)(_\w+)?")


class ApiWorkflow:
    """A workflow, changed in place."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        """Raises PresetError where it is damaged."""
        self.nodes = nodes
        self.takers: dict[Output, list[tuple[str, str]]] = defaultdict(list)
        for key, node in nodes.items():
            if not isinstance(node.get("inputs"), dict):
                raise PresetError(f"node {quoted(key)} of the workflow has no inputs: it is damaged")
            for name, value in node["inputs"].items():
                if (source := _output(value)) is not None:
                    self.takers[source].append((key, name))
        self.last = max([0, *(int(key) for key in nodes if re.fullmatch(r"[0-9]{1,18}", key))])

    def graph(self) -> Graph:
        """Its nodes and links."""
        links, models = [], self._models()
        for (source, slot), takers in self.takers.items():
            is_model = (source, slot) in models
            links += [Link(source, slot, ("", key), "model" if is_model else _kind(name)) for key, name in takers]
        return Graph({("", key): _node(node) for key, node in self.nodes.items()}, links)

    def _models(self) -> set[Output]:
        """The outputs that hold a model: an input of that name takes it, or a switch whose output holds one."""
        found = {each for each, takers in self.takers.items() if any(MODEL.fullmatch(name) for _, name in takers)}
        waiting = list(found)
        while waiting:
            new = self._branches(waiting.pop()[0]) - found
            found |= new
            waiting += new
        return found

    def _branches(self, key: Key) -> set[Output]:
        """What a switch chooses from, by its inputs' names, or a reroute hands on; empty for other nodes.

        A node that takes a model, a pipe or a text by name is none: it makes its output from them.
        """
        alike: dict[str, set[Output]] = defaultdict(set)
        for name, value in self.nodes.get(key[1], {"inputs": {}})["inputs"].items():
            if (source := _output(value)) is not None:
                if MODEL.fullmatch(name) or _kind(name) != "any":
                    return set()
                if BRANCH.search(name):
                    alike[BRANCH.sub("", name)].add(source)
        if VIRTUAL.fullmatch(str(self.nodes.get(key[1], {}).get("class_type"))):
            sources = [_output(value) for value in self.nodes[key[1]]["inputs"].values()]
            return {source for source in sources if source is not None} if len(sources) == 1 else set()
        return next(iter(alike.values())) if len(alike) == 1 else set()

    def replace(self, key: Key, kind: str, values: dict[str, float]) -> None:
        """Gives a FreeU node a version and factors."""
        node = self.nodes[key[1]]
        node["class_type"] = kind
        node["inputs"] |= values
        if isinstance(node.get("_meta"), dict):
            node["_meta"]["title"] = kind

    def values(self, key: Key, names: Sequence[str]) -> dict[str, Any]:
        """What is typed into a node; an input that another node gives is a list."""
        inputs: dict[str, Any] = self.nodes[key[1]]["inputs"]
        return inputs

    def set(self, key: Key, names: Sequence[str], values: Mapping[str, Any]) -> None:
        """Types values into a node."""
        self.nodes[key[1]]["inputs"] |= values

    def insert(self, source: Output, kind: str, values: dict[str, float]) -> tuple[str, int]:
        """Puts a FreeU node behind an output: its id, and how many inputs take it now."""
        self.last += 1
        new, ((_, loader), slot) = str(self.last), source
        inputs = {"model": [loader, slot], **values}
        self.nodes[new] = {"inputs": inputs, "class_type": kind, "_meta": {"title": kind}}
        for key, name in self.takers[source]:
            self.nodes[key]["inputs"][name] = [new, 0]
        return new, len(self.takers[source])


def _node(found: dict[str, Any]) -> Node:
    meta = found.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    texts = tuple(value for value in found["inputs"].values() if isinstance(value, str))
    return Node(str(found["class_type"]), title if isinstance(title, str) else "", texts)


def _output(value: Any) -> Output | None:
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and type(value[1]) is int):
        return None
    if value[1] < 0:
        raise PresetError(f"a link begins at output {value[1]} of node {quoted(value[0])}: it is damaged")
    return ("", str(value[0])), value[1]


def _kind(name: str) -> Kind:
    if PIPE.fullmatch(name):
        return "pipe"
    if PICTURE.fullmatch(name):
        return "picture"
    return "other" if OTHER.fullmatch(name) else "any"
