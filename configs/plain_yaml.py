"""Reads YAML that may come from somebody else, as plain data: the part of the guarded reader (reading.py) for YAML.

Built from PyYAML's events, so that depth and size are seen before anything is made of them. A date is text here.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError, quoted, shortened
from .reading import DEEPEST, checked_number, read_text, shown, too_deep

LARGEST = 2**20
"""Bytes: PyYAML reads a megabyte in a second or two."""
MOST_NODES = 50_000
"""Values, each alias counted as all that it stands for."""
TAG = "tag:yaml.org,2002:"
COLLECTIONS = (None, "!", f"{TAG}seq", f"{TAG}map")
OTHER_BASES = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
"""Numbers that YAML 1.1 reads otherwise than people do."""
SCALARS = ("null", "bool", "int", "float", "str")


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds: text, finite numbers, true and false, null, lists and mappings.

    Raises:
        UserError: the file can't be read, is no YAML, goes beyond the limits of this module, or holds something else.
    """
    return parse_yaml(read_text(file, LARGEST), shown(file))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """The mapping that a YAML text holds, {} for an empty one; name: the file's. Raises UserError, see `read_yaml`."""
    try:
        found = _Document(text, name).read()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        why = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise UserError(f"{name}{where}: not valid YAML: {shortened(str(why))}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{name}: expected 'key: value' lines, found a {type(found).__name__}")
    return found


class _Document:
    def __init__(self, text: str, name: str) -> None:
        self.loader, self.name = yaml.SafeLoader(text), name
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.nodes = 0

    def read(self) -> Any:
        self.loader.get_event()  # the stream's start
        if self.loader.check_event(yaml.StreamEndEvent):
            return None
        self.loader.get_event()  # the document's
        found = self.node(1)
        self.loader.get_event()
        if not self.loader.check_event(yaml.StreamEndEvent):
            raise self.wrong(self.loader.get_event(), "a second document begins here, and one is read")
        return found

    def node(self, depth: int) -> Any:
        event, before = self.loader.get_event(), self.nodes
        self.nodes += 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.wrong(event, f"*{shortened(str(event.anchor))} stands for nothing that came before")
            found, weight = self.anchors[event.anchor]
            self.nodes += weight
        elif isinstance(event, yaml.ScalarEvent):
            found = self.scalar(event)
        elif event.tag not in COLLECTIONS:
            raise self.wrong(event, f"the tag {quoted(event.tag)} is no plain data, and other YAML is not read")
        elif depth > DEEPEST:
            raise self.wrong(event, too_deep())
        elif isinstance(event, yaml.SequenceStartEvent):
            found = self.sequence(depth)
        else:
            found = self.mapping(depth)
        if self.nodes > MOST_NODES:
            raise self.wrong(event, f"more than {MOST_NODES:,} values, with what aliases stand for")
        if not isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            self.anchors[event.anchor] = found, self.nodes - before
        return found

    def sequence(self, depth: int) -> list[Any]:
        found = []
        while not self.loader.check_event(yaml.SequenceEndEvent):
            found.append(self.node(depth + 1))
        self.loader.get_event()
        return found

    def mapping(self, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        while not self.loader.check_event(yaml.MappingEndEvent):
            start = self.loader.peek_event()
            key = self.node(depth + 1)
            if isinstance(key, list | dict):
                raise self.wrong(start, "a list or mapping can't be a key")
            if key in found:
                raise self.wrong(start, f"the key {quoted(key)} is there twice")
            found[key] = self.node(depth + 1)
        self.loader.get_event()
        return found

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        seen = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        kind = (event.tag if event.tag not in (None, "!") else seen).removeprefix(TAG)
        if kind not in SCALARS:
            if event.tag not in (None, "!"):
                raise self.wrong(event, f"the tag {quoted(event.tag)} is no plain data, and other YAML is not read")
            kind = "str"  # a date, as it is written
        if kind in ("null", "str"):
            return None if kind == "null" else event.value
        if kind != "bool" and OTHER_BASES.fullmatch(event.value):
            raise self.wrong(
                event, f"{quoted(event.value)} is a number to base 8 or 60 in YAML: write it in decimals, or in quotes"
            )
        try:
            node = yaml.ScalarNode(TAG + kind, checked_number(event.value))
            if kind == "bool":
                return self.loader.construct_yaml_bool(node)
            number = self.loader.construct_yaml_int(node) if kind == "int" else self.loader.construct_yaml_float(node)
        except (ValueError, KeyError, IndexError) as error:
            raise self.wrong(event, f"{quoted(event.value)} is no {kind}: {shortened(str(error))}") from error
        if not math.isfinite(number):
            raise self.wrong(event, f"{event.value} is not a finite number")
        return number

    def wrong(self, event: yaml.Event, why: str) -> UserError:
        where = "" if event.start_mark is None else f", line {event.start_mark.line + 1}"
        return UserError(f"{self.name}{where}: {why}")
