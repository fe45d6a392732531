"""Finds in a ComfyUI workflow what a study sets: the prompt's text, the seed, guidance, steps, size, the image.

By structure, from the image that comes out back to what makes it: a sampler's `positive` leads to the text, whatever
stands between. Names of inputs say what they are, as ComfyUI's own nodes (nodes.py, comfy_extras) and the usual custom
ones have them; titles and ids say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Nodes = Mapping[str, Mapping[str, Any]]
"""A workflow in API format: nodes by id, with `class_type` and `inputs`."""
SEED = re.compile(r"(\w+_)?(noise_)?seed")
TEXT = re.compile(r"(wildcard_|populated_|prompt_|input_|\w+_)?(text|prompt|string)(_?[a-z0-9])?|value|t5xxl|clip_[lg]")
NUMBER = re.compile(r"(noise_|\w+_)?(seed|value|int|float|number|steps|cfg|width|height)|a")
CONDITION = re.compile(r"cond(itioning)?(_?\w+)?")
MODEL = re.compile(r"(base_|basic_|refiner_)?model(_?\d+|_opt)?|(\w+_)?pipe|guider|base_ctx|ctx|sdxl_tuple")
PICTURE = re.compile(r"(images?|frames|pixels)")
LATENT = re.compile(r"(\w+_)?(latent|latent_image|samples|latents)(_\d+)?")
OTHER = re.compile(r"(\w+_)?(clip|vae|model|control_net|style_model|image|pixels|mask|latent|samples|ipadapter)(_\w+)?")
WILDCARDS = {"wildcard_text", "populated_text"}
"""Two inputs of one node for one text."""
VIDEO_SINK = re.compile(r"(?i).*(video|webm|animated|gif).*")
NO_TEXT = "ConditioningZeroOut"
"""Makes an empty negative out of the positive prompt."""


Step = tuple[str, int, str]
"""A node's output, and whether it is looked at as "positive" or "negative"."""


@dataclass(frozen=True, order=True)
class Place:
    """An input of a node; of what comes out of a node, `input` is the number of its output."""

    node: str
    input: str

    def __str__(self) -> str:
        return f"{self.node}.{self.input}"


class Workflow:
    """A workflow to look things up in."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes

    def inputs(self, node: str) -> Mapping[str, Any]:
        """By name: values, or [id, slot] of another node's output."""
        found: Mapping[str, Any] = self.nodes[node]["inputs"] if node in self.nodes else {}
        return found

    def links(self, node: str) -> dict[str, tuple[str, int]]:
        """Those inputs that come from another node."""
        return {name: source for name, value in self.inputs(node).items() if (source := link(value)) is not None}

    def ancestors(self, node: str) -> frozenset[str]:
        """The node and all that it is made from."""
        found, waiting = {node}, [node]
        while waiting:
            for source, _ in self.links(waiting.pop()).values():
                if source not in found and source in self.nodes:
                    found.add(source)
                    waiting.append(source)
        return frozenset(found)

    def value(self, place: Place) -> Any:
        """What the workflow has there."""
        return self.inputs(place.node).get(place.input)

    @cached_property
    def sinks(self) -> dict[str, tuple[str, int]]:
        """The nodes that end the workflow with images which a sampler made: where each gets them from."""
        taken = {source for node in self.nodes for source, _ in self.links(node).values()}
        found = {}
        for node in self.nodes:
            source = self.picture(node) if node not in taken else None
            if source is not None and self.samplers & self.ancestors(source[0]):
                found[node] = source
        return found

    def picture(self, node: str) -> tuple[str, int] | None:
        """What a node that ends a workflow shows: its images, also through a node that makes a video of them."""
        for _ in self.nodes:
            links = self.links(node)
            if (found := next((name for name in links if PICTURE.fullmatch(name)), None)) is not None:
                return links[found]
            if "video" not in links:
                return None
            node = links["video"][0]
        return None

    @cached_property
    def samplers(self) -> frozenset[str]:
        """Nodes that denoise: they take a model, and a seed or noise."""
        return frozenset(
            node
            for node in self.nodes
            if any(MODEL.fullmatch(name) for name in self.links(node))
            and any(SEED.fullmatch(name) or name == "noise" for name in self.inputs(node))
        )

    def passes(self, kept: frozenset[str]) -> dict[str, int]:
        """Each sampler among these nodes, with how many others come before it."""
        mine = self.samplers & kept
        return {node: len((self.ancestors(node) & mine) - {node}) for node in mine}

    def texts(self, role: str, kept: frozenset[str]) -> list[tuple[Place, ...]]:
        """The texts that lead to the samplers as `positive` or `negative`; those in one tuple are one text."""
        found: list[tuple[Place, ...]] = []
        seen: set[Step] = set()
        for node in sorted(kept):
            links = self.links(node)
            if any(MODEL.fullmatch(name) for name in links):
                wanted = [name for name in links if _is(role, name)]
                if role == "positive" and not wanted:
                    wanted = [name for name in links if CONDITION.fullmatch(name)]
                for name in wanted:
                    found += self._texts((*links[name], role), seen)
        if not found:  # pipes that begin with a loader which has the texts typed into it
            for node in sorted(kept):
                typed = tuple(Place(node, name) for name in self.typed_in(node) if _is(role, name))
                found += [typed] if typed else []
        return list(dict.fromkeys(found))

    def _texts(self, start: Step, seen: set[Step]) -> Iterator[tuple[Place, ...]]:
        waiting = [start]
        while waiting:
            step = waiting.pop(0)
            if step in seen or step[0] not in self.nodes or self.nodes[step[0]]["class_type"] == NO_TEXT:
                continue
            seen.add(step)
            here, names, role = self._step(step)
            yield from here
            links = self.links(step[0])
            waiting = [(*links[name], role) for name in names] + waiting

    def _step(self, step: Step) -> tuple[list[tuple[Place, ...]], list[str], str]:
        """The texts that a node has itself, the inputs that more of them come through, and as what."""
        node, slot, role = step
        links, typed = self.links(node), self.typed_in(node)
        if {"positive", "negative"} <= links.keys() and slot < 2:  # what goes in as one comes out as one
            role = ("positive", "negative")[slot]
        if named := [name for name in links if _is(role, name)]:
            return [], named, role
        if own := tuple(Place(node, name) for name in typed if _is(role, name)):
            return [own], [], role
        if conditions := [name for name in links if CONDITION.fullmatch(name)]:
            return [], conditions, role
        inputs = [name for name in self.inputs(node) if TEXT.fullmatch(name) and not _is(_other(role), name)]
        further = [name for name in inputs if name in links]
        here = [name for name in typed if name in inputs]
        if not here:
            return [], further or [name for name in links if not OTHER.fullmatch(name)], role
        if "clip" in links or WILDCARDS.issuperset(here):
            return [tuple(Place(node, name) for name in here)], further, role
        full = [name for name in here if str(self.inputs(node)[name]).strip()]  # pieces of a text
        return [(Place(node, name),) for name in full or ([] if further else here[:1])], further, role

    def typed_in(self, node: str) -> list[str]:
        """The inputs of a node that a text may be typed into."""
        return [name for name, value in self.inputs(node).items() if isinstance(value, str) and _may_be_text(name)]

    def numbers(self, wanted: re.Pattern[str], kept: frozenset[str]) -> list[Place]:
        """The places where numbers of that name stand, also where they come from a node that holds a number."""
        found = []
        for node in sorted(kept):
            for name, value in self.inputs(node).items():
                if wanted.fullmatch(name):
                    found += self.number_at(node, name, value)
        return list(dict.fromkeys(found))

    def number_at(self, node: str, name: str, value: Any, depth: int = 0) -> list[Place]:
        """Where the number of an input stands: there, or in the node that it comes from; empty where neither."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return [Place(node, name)]
        source = link(value)
        if source is None or source[0] not in self.nodes or depth > 20:
            return []
        inputs = self.inputs(source[0])
        typed = [each for each, held in inputs.items() if NUMBER.fullmatch(each) and type(held) in (int, float)]
        same = [each for each in typed if each == name] or typed
        if len(same) == 1:
            return [Place(source[0], same[0])]
        links = self.links(source[0])
        if len(links) == 1 and not typed:
            only = next(iter(links))
            return self.number_at(source[0], only, inputs[only], depth + 1)
        return []

    def choices(self, name: str, kept: frozenset[str]) -> list[Place]:
        """The places where a text of that name stands, as a sampler's."""
        return [Place(node, name) for node in sorted(kept) if isinstance(self.inputs(node).get(name), str)]

    def latents(self, kept: frozenset[str]) -> list[str]:
        """The nodes that make the empty latent of the first pass: with a width and a height, and no image."""
        order = self.passes(kept)
        found: list[str] = []
        waiting = [node for node, before in order.items() if before == 0]
        seen = set(waiting)
        while waiting:
            node = waiting.pop(0)
            inputs = self.inputs(node)
            if {"width", "height"} <= inputs.keys() and not any(PICTURE.fullmatch(name) for name in self.links(node)):
                found.append(node)
                continue
            for name, (source, _) in self.links(node).items():
                if (LATENT.fullmatch(name) or (MODEL.fullmatch(name) and "pipe" in name)) and source not in seen:
                    seen.add(source)
                    waiting.append(source)
        return found


def link(value: Any) -> tuple[str, int] | None:
    """The output that an input comes from; None of a value."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int) and type(value[1]) is int:
        return str(value[0]), value[1]
    return None


def _other(role: str) -> str:
    return "negative" if role == "positive" else "positive"


def _is(role: str, name: str) -> bool:
    return role in name.lower().split("_")


def _may_be_text(name: str) -> bool:
    return bool(TEXT.fullmatch(name)) or _is("positive", name) or _is("negative", name)
