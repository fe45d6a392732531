"""Workflows as ComfyUI's editor saves them: nodes with typed inputs and outputs, and a table of the links between.

Each link stands three times: in the table as [id, source, its slot, target, its slot, type], in the source's output and
in the target's input. Subgraphs are defined once and used as nodes; inside one, two border nodes stand for its inputs
and outputs, and links are mappings (the layout of LiteGraph, github.com/Comfy-Org/ComfyUI_frontend).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from configs import quoted

from ..preset import PresetError
from .graph import Graph, Key, Kind, Link, Node, Output, shown

PIPE = re.compile(r"(\w+_)?PIPE(_LINE)?|RGTHREE_CONTEXT|SDXL_TUPLE|BUS")
PICTURES = frozenset(["LATENT", "IMAGE", "MASK", "VIDEO"])
OTHERS = frozenset(
    (
        *("CLIP", "VAE", "CONDITIONING", "CONTROL_NET", "CLIP_VISION", "CLIP_VISION_OUTPUT", "STYLE_MODEL"),
        *("INT", "FLOAT", "STRING", "BOOLEAN", "NUMBER", "COMBO", "SAMPLER", "SIGMAS", "NOISE", "UPSCALE_MODEL"),
    )
)
FIELDS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
SET, GET = re.compile(r"(easy )?setNode", re.IGNORECASE), re.compile(r"(easy )?getNode", re.IGNORECASE)
EVERYWHERE = re.compile(r".*Everywhere\??\d?")
"""Of cg-use-everywhere: what goes in goes to every input of its type that has no link."""


class SavedWorkflow:
    """A workflow, changed in place."""

    def __init__(self, workflow: dict[str, Any]) -> None:
        """Raises PresetError where it is damaged, or of an unknown layout."""
        self.workflow = workflow
        self.bodies = {"": workflow} | _subgraphs(workflow)
        self.nodes: dict[Key, dict[str, Any]] = {}
        self.takers: dict[Output, list[Any]] = defaultdict(list)
        self.last_node, self.last_link = _whole(workflow.get("last_node_id")), _whole(workflow.get("last_link_id"))
        for name, body in self.bodies.items():
            for node in _list(body, "nodes"):
                self._add(name, node)
            for link in _list(body, "links"):
                if link is not None:  # as old versions left them
                    number, source, slot, *_ = _fields(link)
                    self.last_link = max(self.last_link, _whole(number))
                    if self._arrives(name, link):
                        self.takers[(name, str(source)), slot].append(link)

    def _add(self, body: str, node: Any) -> None:
        if not isinstance(node, dict) or not _is_id(node.get("id")) or not isinstance(node.get("type"), str):
            raise PresetError("the workflow's nodes are of a layout that is not known: give it in API format")
        for side in ("inputs", "outputs"):
            if any(not isinstance(each, dict) for each in _list(node, side)):
                raise PresetError(f"node {quoted(node['id'])} of the workflow has {side} that are none: it is damaged")
        key = body, str(node["id"])
        if key in self.nodes:
            raise PresetError(f"two nodes of the workflow have the id {shown(key)}: it is damaged")
        self.nodes[key] = node
        self.last_node = max(self.last_node, _whole(node["id"]))

    def _arrives(self, body: str, link: Any) -> bool:
        """Whether a link leads to an input, or to a border of its subgraph: others do nothing."""
        number, _, _, to, slot, _ = _fields(link)
        node = self.nodes.get((body, str(to)))
        if node is None:
            return any(str(border.get("id")) == str(to) for border in self._borders(body).values())
        inputs = _list(node, "inputs")
        return (isinstance(slot, int) and 0 <= slot < len(inputs)) or any(each.get("link") == number for each in inputs)

    def _borders(self, body: str) -> dict[str, dict[str, Any]]:
        """The nodes that stand for a subgraph's inputs ("in") and outputs ("out"); none outside of one."""
        found = {side: self.bodies[body].get(name) for side, name in (("in", "inputNode"), ("out", "outputNode"))}
        return {side: border for side, border in found.items() if isinstance(border, dict)}

    def graph(self) -> Graph:
        """Its nodes and links, with those that are not drawn: into subgraphs, from Set to Get, everywhere."""
        names = {body.get("id"): name for name, body in self.bodies.items() if name}
        nodes = {key: _node(node) for key, node in self.nodes.items() if node["type"] not in names}
        links = []
        for (source, slot), takers in self.takers.items():
            for link in takers:
                _, _, _, to, to_slot, kind = _fields(link)
                target = source[0], str(to)
                types = (
                    _type(self.nodes.get(source), "outputs", slot),
                    kind,
                    _type(self.nodes.get(target), "inputs", to_slot),
                )
                a, b = self._port(source, slot, "out", names), self._port(target, to_slot, "in", names)
                links.append(Link(a, slot, b, _kind(*map(str, types))))
        return Graph(nodes, links + self._undrawn())

    def _port(self, key: Key, slot: Any, side: str, names: dict[Any, str]) -> Key:
        """A node itself, or, of a subgraph, the place where a link goes through its border."""
        node = self.nodes.get(key)
        if node is not None:
            return (f"\0{side} of {names[node['type']]}", str(slot)) if node["type"] in names else key
        for inner, border in self._borders(key[0]).items():
            if str(border.get("id")) == key[1]:
                return f"\0{inner} of {key[0]}", str(slot)
        return key

    def _undrawn(self) -> list[Link]:
        found = []
        everywhere = "\0everywhere", ""
        for key, node in self.nodes.items():
            values = node.get("widgets_values")
            name = "\0name", str(values[0]) if isinstance(values, list) and values else ""
            if SET.fullmatch(node["type"]):
                found.append(Link(key, 0, name, "any"))
            elif GET.fullmatch(node["type"]):
                found.append(Link(name, 0, key, "any"))
            elif EVERYWHERE.fullmatch(node["type"]):
                found.append(Link(key, 0, everywhere, "any"))
            elif any(each.get("type") == "MODEL" and each.get("link") is None for each in _list(node, "inputs")):
                found.append(Link(everywhere, 0, key, "any"))
        return found

    def replace(self, key: Key, kind: str, values: dict[str, float]) -> None:
        """Gives a FreeU node a version and factors. Raises PresetError where other nodes give it some."""
        node = self.nodes[key]
        if any(each.get("name") != "model" and each.get("link") is not None for each in _list(node, "inputs")):
            raise PresetError(f"node {shown(key)} takes factors from other nodes: remove those links first")
        node |= {"type": kind, "widgets_values": list(values.values()), "mode": 0}
        properties = node.get("properties")
        node["properties"] = {**(properties if isinstance(properties, dict) else {}), "Node name for S&R": kind}

    def values(self, key: Key, names: Sequence[str]) -> dict[str, Any]:
        """What is typed into a node; an input that another node gives is a list. names: of its widgets, in order."""
        node = self.nodes[key]
        found = node.get("widgets_values")
        pairs = dict(zip(names, found, strict=False)) if isinstance(found, list) else {}
        pairs |= found if isinstance(found, dict) else {}
        given = [each.get("name") for each in _list(node, "inputs") if each.get("link") is not None]
        return pairs | {name: [] for name in given if name in names}

    def set(self, key: Key, names: Sequence[str], values: Mapping[str, Any]) -> None:
        """Types values into a node's widgets, which are there."""
        found = self.nodes[key]["widgets_values"]
        for name, value in values.items():
            found[name if isinstance(found, dict) else names.index(name)] = value

    def insert(self, source: Output, kind: str, values: dict[str, float]) -> tuple[str, int]:
        """Puts a FreeU node behind an output: its id, and how many inputs take it now.

        Raises:
            PresetError: there is no such output.
        """
        key, slot = source
        body, loader, takers = self.bodies[key[0]], self.nodes[key], self.takers[source]
        outputs = _list(loader, "outputs")
        if not 0 <= slot < len(outputs):
            raise PresetError(
                f"a link begins at output {slot} of node {shown(key)}, which has {len(outputs)}: it is damaged"
            )
        self.last_node, self.last_link = self.last_node + 1, self.last_link + 1
        new, link, (x, y) = self.last_node, self.last_link, _position(loader)
        inputs = [{"name": "model", "type": "MODEL", "link": link}]
        links = [_fields(each)[0] for each in takers]
        node = {"id": new, "type": kind, "pos": [x, y - 200], "size": [315, 130], "flags": {}}
        node |= {"order": loader.get("order", 0), "mode": 0, "inputs": inputs}
        node["outputs"] = [{"name": "MODEL", "type": "MODEL", "links": links, "slot_index": 0}]
        node |= {"properties": {"Node name for S&R": kind}, "widgets_values": list(values.values())}
        body["nodes"].append(node)
        as_list = isinstance(takers[0], list)
        for each in takers:
            each[1 if as_list else FIELDS[1]], each[2 if as_list else FIELDS[2]] = new, 0
        row = [link, loader["id"], slot, new, 0, "MODEL"]
        body["links"].append(row if as_list else dict(zip(FIELDS, row, strict=True)))
        outputs[slot]["links"] = [link]
        self._count()
        return shown((key[0], str(new))), len(takers)

    def _count(self) -> None:
        """Keeps the numbers that the next node and link are counted from."""
        self.workflow |= {"last_node_id": self.last_node, "last_link_id": self.last_link}
        for body in self.bodies.values():
            if isinstance(body.get("state"), dict):
                body["state"] |= {"lastNodeId": self.last_node, "lastLinkId": self.last_link}


def _subgraphs(workflow: dict[str, Any]) -> dict[str, Any]:
    """By name, or by id where two have one name."""
    definitions = workflow.get("definitions")
    found = _list(definitions, "subgraphs") if isinstance(definitions, dict) else []
    if any(not isinstance(each, dict) or not isinstance(each.get("id"), str) for each in found):
        raise PresetError("the workflow's subgraphs are of a layout that is not known: give it in API format")
    names = [each.get("name") for each in found]
    by_name = all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)
    return {each["name" if by_name else "id"]: each for each in found}


def _fields(link: Any) -> list[Any]:
    """The six of a link in the table."""
    found = [link.get(name) for name in FIELDS] if isinstance(link, dict) else link
    if not isinstance(found, list) or len(found) < 6 or not all(map(_is_id, found[:5])) or type(found[2]) is not int:
        raise PresetError("the workflow's links are of a layout that is not known: give it in API format")
    return found[:6]


def _kind(*types: str) -> Kind:
    if "MODEL" in types:
        return "model"
    if any(PIPE.fullmatch(each) for each in types):
        return "pipe"
    if not PICTURES.isdisjoint(types):
        return "picture"
    return "any" if OTHERS.isdisjoint(types) else "other"


def _type(node: dict[str, Any] | None, side: str, slot: Any) -> Any:
    slots = _list(node, side) if node is not None else []
    return slots[slot].get("type") if isinstance(slot, int) and 0 <= slot < len(slots) else None


def _node(found: dict[str, Any]) -> Node:
    values = found.get("widgets_values")
    values = list(values.values()) if isinstance(values, dict) else values if isinstance(values, list) else []
    title = found.get("title")
    texts = tuple(value for value in values if isinstance(value, str))
    asked = [each for each in _list(found, "inputs") if (each.get("name"), each.get("type")) == ("model", "MODEL")]
    loose = any(each.get("link") is None for each in asked)
    return Node(found["type"], title if isinstance(title, str) else "", texts, loose)


def _list(found: dict[str, Any], name: str) -> list[Any]:
    """A list that may be left out or null. Raises PresetError where it is something else."""
    inner = found.get(name)
    if inner is not None and not isinstance(inner, list):
        raise PresetError(f"the workflow's {name} are no list: it is damaged")
    return inner or []


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _whole(value: Any) -> int:
    return value if type(value) is int else 0


def _position(node: dict[str, Any]) -> tuple[float, float]:
    """Saved as a list, and by older versions as a mapping of "0" and "1"."""
    place = node.get("pos")
    place = list(place.values()) if isinstance(place, dict) else place
    if not isinstance(place, list) or len(place) < 2 or any(type(each) not in (int, float) for each in place[:2]):
        return 0, 0
    return place[0], place[1]
