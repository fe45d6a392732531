"""Reads a large model's files once before it is loaded, to name it by its contents, where that is not known yet.

The hashes are remembered (`freeu.models.hashes`), so that a later start, and each worker, doesn't read them again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from configs import UserError

if TYPE_CHECKING:
    from freeu.models import ModelSpec


class Screen(Protocol):
    """What a person sees of it."""

    def say(self, text: str) -> None: ...

    def reading(self, what: str, done: int, size: int) -> None:
        """done, size: in bytes."""
        ...


def read_once(spec: ModelSpec, screen: Screen) -> None:
    """Hash what is not known of the spec's large files, and say how large the model is that is loaded then."""
    from freeu.models import hashes, identity, locate
    from freeu.models.addons import addons

    if spec.traits.drawn == "own" or (place := locate.here(spec)) is None:
        return
    try:
        more = [file for addon in addons(spec) for file in addon.files]
    except UserError:  # told where it is loaded
        more = []
    large = identity.large_files(place, spec.variant, more)
    if not large:
        return
    unknown = [file for file in large if not hashes.is_known(file)]
    size, done = sum(file.stat().st_size for file in unknown), 0
    if unknown:
        screen.say(f"reading {_gigabytes(size)} once, to know the model by its contents: later starts don't")

    def told(more: int) -> None:
        nonlocal done
        done += more
        screen.reading("reading the model", done, size)

    for file in unknown:
        hashes.of_file(file, told)
    screen.reading("", 0, 0)
    screen.say(f"loading {spec.name}, {_gigabytes(sum(file.stat().st_size for file in large))} of files")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
