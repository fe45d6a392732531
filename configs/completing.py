"""What a shell can offer for a flag's value: names of what `configs` holds, and lists of names.

Completion runs while a person waits, so nothing heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import configs

Complete = Callable[[str], list[str]]


def beginning(names: Iterable[str], incomplete: str) -> list[str]:
    """Those of the names that begin so, sorted."""
    return sorted(name for name in names if name.startswith(incomplete))


def among(names: Iterable[str]) -> Complete:
    """What offers these names."""

    def complete(incomplete: str) -> list[str]:
        return beginning(names, incomplete)

    return complete


def listed(names: Callable[[], Iterable[str]]) -> Complete:
    """What offers these names for the last of a list, as "clip,aes" is completed to "clip,aesthetic"."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        return [f"{before}{comma}{name}" for name in beginning(names(), last) if name not in given]

    return complete


def models(incomplete: str) -> list[str]:
    """Base models, by name."""
    return beginning((file.stem for file in configs.path("models").glob("*.yaml")), incomplete)
