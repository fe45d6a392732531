"""Where models go in a workflow: from what loads them, through whatever hands them on, to what samples.

A link is a model's by its type. Nodes that take anything (reroutes, switches, pipes, contexts, Get and Set) hand on
what goes into them: what leaves one of them can be a model if a model goes in. So a node loads a model if one leaves it
and none goes in, whatever it is called. Everything here takes time in proportion to the nodes and links.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from configs import shortened

Key = tuple[str, str]
"""Of a node: the subgraph that it is in ("" outside), and its id there."""
Output = tuple[Key, int]
"""A node's, by its slot."""
Kind = Literal["model", "pipe", "any", "picture", "other"]
"""What a link can hold: a model; a pipe or context, with a model in it; anything; a latent or picture, which sampling
makes; something without a model."""
VIRTUAL = re.compile(r"Reroute.*|(easy )?[gs]etNode|.*Everywhere\??\d?", re.IGNORECASE)
"""Nodes of the editor alone, which make nothing of their own."""
FREEU = ("FreeU", "FreeU_V2")
FOREIGN_FREEU = re.compile(r"(?i).*\bfree_?u.*")


@dataclass(frozen=True)
class Node:
    """kind: ComfyUI's class of it. texts: what is typed into it, which a loader has and a context has not.

    loose: it takes a model and is given none, so none leaves it.
    """

    kind: str
    title: str = ""
    texts: tuple[str, ...] = ()
    loose: bool = False


@dataclass(frozen=True)
class Link:
    """From a node's output to another node."""

    source: Key
    slot: int
    target: Key
    kind: Kind


@dataclass(frozen=True)
class Graph:
    """A workflow's nodes and links, those included that the editor makes without drawing them."""

    nodes: dict[Key, Node]
    links: list[Link]

    @cached_property
    def leaving(self) -> dict[Key, list[Link]]:
        """The links that leave each node."""
        found: dict[Key, list[Link]] = defaultdict(list)
        for link in self.links:
            found[link.source].append(link)
        return found

    @cached_property
    def entering(self) -> dict[Key, list[Link]]:
        """Those that enter each."""
        found: dict[Key, list[Link]] = defaultdict(list)
        for link in self.links:
            found[link.target].append(link)
        return found

    @cached_property
    def fed(self) -> set[Key]:
        """The nodes that a model goes into."""
        start = {link.target: link.target for link in self.links if link.kind == "model" or self._hidden(link)}
        return set(self.after(start, lambda link: link.kind in ("pipe", "any")))

    @cached_property
    def sources(self) -> list[Output]:
        """The outputs of what loads a model, each once."""
        found = [(link.source, link.slot) for link in self.links if link.kind == "model"]
        return [each for each in dict.fromkeys(found) if each[0] not in self.fed and self._loads(each[0])]

    @cached_property
    def hidden(self) -> list[tuple[Key, int]]:
        """The outputs of what loads a model and hands it on in a pipe alone, where nothing gets between."""
        return [
            (link.source, link.slot)
            for link in self.links
            if self._hidden(link) and link.source not in self.fed  # else the pipe holds another one's model
        ]

    def after(self, start: Mapping[Key, Key], through: Callable[[Link], bool]) -> dict[Key, Key]:
        """Those nodes, and all that are reached from them along some links, each with what its start came with."""
        return _reached(start, lambda key: [link.target for link in self.leaving.get(key, ()) if through(link)])

    def before(self, start: Mapping[Key, Key], through: Callable[[Link], bool]) -> dict[Key, Key]:
        """Those nodes, and all that reach them along some links, in the same way."""
        return _reached(start, lambda key: [link.source for link in self.entering.get(key, ()) if through(link)])

    def carries(self, link: Link) -> bool:
        """Whether a model goes along a link."""
        return link.kind == "model" or (link.kind in ("pipe", "any") and link.source in self.fed) or self._hidden(link)

    def name(self, key: Key) -> str:
        """A node for people: its class, its title and its id."""
        node = self.nodes[key]
        title = f' "{shortened(node.title, 60)}"' if node.title and node.title != node.kind else ""
        return f"{shortened(node.kind, 60)}{title} (node {shown(key)})"

    def _hidden(self, link: Link) -> bool:
        node = self.nodes.get(link.source)
        return link.kind == "pipe" and node is not None and bool(node.texts)

    def _loads(self, key: Key) -> bool:
        node = self.nodes.get(key)
        return node is not None and not node.loose and VIRTUAL.fullmatch(node.kind) is None


def shown(key: Key) -> str:
    """A node's id, as --node takes it."""
    return shortened(f"{key[0]}:{key[1]}" if key[0] else key[1], 60)


def _reached(start: Mapping[Key, Key], following: Callable[[Key], Iterable[Key]]) -> dict[Key, Key]:
    found, waiting = dict(start), list(start)
    while waiting:
        key = waiting.pop()
        for each in following(key):
            if each not in found:
                found[each] = found[key]
                waiting.append(each)
    return found
