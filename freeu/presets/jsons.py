"""JSON of other tools: read with care, written with order kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from configs import UserError, parse_json

from .preset import PresetError


def mapping(text: str) -> dict[str, Any]:
    """The mapping that a text holds, {} where it is no JSON or no mapping."""
    try:
        found = parse_json(text, "the text", nan=True, halves=True)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def existing(text: str, what: str) -> dict[str, Any]:
    """The mapping of a file to merge into; an empty file is an empty one. Raises PresetError for anything else."""
    found = mapping(text)
    if not found and text.strip() and text.split() not in (["{}"], ["{", "}"]):
        raise PresetError(f"this is no {what} (a JSON object): mend it, or give another file with --out")
    return found


def with_script(request: Mapping[str, Any], name: str, args: list[Any]) -> dict[str, Any]:
    """A web UI's request with a script's arguments in place of those that it had; names count in any case."""
    scripts = request.get("alwayson_scripts")
    there = scripts if isinstance(scripts, dict) else {}
    kept = {key: value for key, value in there.items() if key.lower() != name.lower()}
    return {**request, "alwayson_scripts": {**kept, name: {"args": args}}}


def mappings(found: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in plain data, from the outside in."""
    waiting = [found]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def written(content: Any) -> str:
    """As text, with a line break at its end."""
    return json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
