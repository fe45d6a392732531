"""Prompt sets: a name in configs/prompts, a file of the user's, or a folder of pictures; see `configs.prompt_files`.

A set is split by the hash of each prompt: the search sees one half, the confirmation the other. A prompt's half doesn't
depend on the other prompts, so adding prompts moves none.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs import UserError, path, unknown
from configs.prompt_files import FORMATS, Prompt, rows
from configs.prompt_rows import PICTURES

SUBJECT = "{subject}"
"""Stands in a prompt for the words that the user gives."""


def load(source: str, subject: str | None = None, negatives: Sequence[str] | None = None) -> tuple[Prompt, ...]:
    """Read a prompt set, in the file's order, without duplicates. source: name or path. subject: replaces {subject}.
    negatives: the negative prompt of each, in the file's order, in place of those that the set brings.

    Raises:
        UserError: no such set or file, unreadable or empty, a {subject} without --subject, or another number of
            negative prompts.
    """
    file = _find(source)
    beside = file if file.is_dir() else file.parent
    prompts: dict[str, Prompt] = {}
    found = rows(file)
    for row in found if negatives is None else _with_negatives(found, negatives, file):
        if SUBJECT in row.text:
            if subject is None:
                raise UserError(
                    f'the prompts of {file.name} are about a subject of your own: name it, as --subject "a sks dog"'
                )
            row = replace(row, text=row.text.replace(SUBJECT, subject))
        pictures = {kind: place for kind in ("image", *PICTURES) if (place := getattr(row, kind)) is not None}
        here: dict[str, Any] = {kind: str(beside.resolve() / place) for kind, place in pictures.items()}
        row = replace(row, **here)
        first = prompts.setdefault(row.text, row) if row.text else row
        for kind, one, other in (
            ("images", first.image, row.image),
            ("control images", first.control, row.control),
            ("masks", first.mask, row.mask),
            ("pictures for an IP-Adapter", first.ip_image, row.ip_image),
            ("negative prompts", first.negative, row.negative),
        ):
            if one != other:
                raise UserError(
                    f"the prompt {row.text!r} of {file} has two {kind}, {one or 'none'} and {other or 'none'}: "
                    "a study knows an image by its prompt, so give each words of its own"
                )
    if not prompts:
        raise UserError(f"{file} holds no prompts: put one on each line, or give another set with --prompts")
    return tuple(prompts.values())


def _with_negatives(found: Sequence[Prompt], negatives: Sequence[str], file: Path) -> list[Prompt]:
    filled = [row for row in found if row.text]
    if len(negatives) not in (len(found), len(filled)):
        raise UserError(
            f"--negative-prompt has {len(negatives)} lines, and {file.name} {len(filled)} prompts: give one line for "
            "each prompt, or a single one for all"
        )
    rows = found if len(negatives) == len(found) else filled
    return [replace(row, negative=negative) for row, negative in zip(rows, negatives, strict=True)]


def split(prompts: Iterable[Prompt]) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Split into (search, held out), about half each; a prompt always falls on the same side. Keeps the order.

    Raises:
        UserError: one side is empty, so nothing could be confirmed.
    """
    prompts = tuple(prompts)
    search = tuple(prompt for prompt in prompts if _hash("half", prompt.text) % 2 == 0)
    held_out = tuple(prompt for prompt in prompts if _hash("half", prompt.text) % 2 == 1)
    if not search or not held_out:
        raise UserError(f"{len(prompts)} prompts are too few to search on one half and confirm on the other: give more")
    return search, held_out


def limited(prompts: Sequence[Prompt], limit: int) -> tuple[Prompt, ...]:
    """At most `limit` of the prompts, in an order of which any first part holds every category's share; by hash, so the
    same ones each time. A larger limit adds prompts behind, where there is one category.
    """
    groups: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in sorted(prompts, key=lambda p: _hash("order", p.text)):
        groups[prompt.category].append(prompt)
    # Each category's k-th prompt stands at (k + ½) / its size, so a first part holds fair shares.
    places = [
        ((k + 0.5) / len(group), _hash("order", prompt.text), prompt)
        for group in groups.values()
        for k, prompt in enumerate(group)
    ]
    return tuple(prompt for _, _, prompt in sorted(places, key=lambda place: place[:2])[:limit])


def check_enough(metric: str, least: int, n: int) -> None:
    """Raise UserError if a metric needs more images than there are prompts."""
    if n < least:
        raise UserError(
            f"{metric} needs at least {least} images, and there are {n} prompts: "
            "raise --limit, give more prompts, or leave it out of --objectives"
        )


def seeds(prompts: Sequence[str], seed: int, purpose: str) -> list[int]:
    """One seed for each prompt, from 0 to 2**31 - 1. Another purpose gives other seeds."""
    return [_hash(f"{seed}:{purpose}", prompt) % 2**31 for prompt in prompts]


def _hash(purpose: str, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}\0{text}".encode()).digest()[:8], "big")


def _find(source: str) -> Path:
    known = {file.stem: file for file in path("prompts").glob("*.*") if file.suffix[1:] in FORMATS}
    if source in known:
        return known[source]
    file = Path(source).expanduser()
    if file.exists():
        return file
    if file.suffix or "/" in source:
        raise UserError(
            f"the prompt file {source} does not exist: give a set's name ({', '.join(sorted(known))}), a file, or a "
            "folder of pictures"
        )
    raise unknown("prompt set", source, known)
