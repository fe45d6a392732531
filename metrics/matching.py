"""Which prompt and which other image belong to an image of a folder, by their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from configs import UserError

SHOWN = 3
"""Names that an error tells."""


def prompts_by_name(names: Sequence[str], given: Mapping[str, str], source: Path) -> tuple[str, ...]:
    """The prompt of each image, by paths that end alike: "runs/a/0.png" and "0.png" are names of "a/0.png".

    names: of the images, relative to their folder. given: image → prompt, as `source` has them.

    Raises:
        UserError: an image has none, or several that differ.
    """
    known: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    texts = {PurePosixPath(image.replace("\\", "/")).parts: text for image, text in given.items()}
    for parts in texts:
        known[parts[-1]].append(parts)
    found: dict[str, set[str]] = {}
    for name in names:
        own = PurePosixPath(name).parts
        ends = [parts for parts in known[own[-1]] if parts[-len(own) :] == own[-len(parts) :]]
        alike = max((min(len(parts), len(own)) for parts in ends), default=0)
        found[name] = {texts[parts] for parts in ends if min(len(parts), len(own)) == alike}
    if missing := [name for name, prompts in found.items() if not prompts]:
        raise UserError(f"{source} has no prompt for {_some(missing)} ({len(missing)} of {len(names)} images)")
    if unclear := [name for name, prompts in found.items() if len(prompts) > 1]:
        raise UserError(f"{source} has several prompts for {_some(unclear)}: name images by their folders too")
    return tuple(next(iter(found[name])) for name in names)


def check_pairs(names: Sequence[str], others: Sequence[str], base: Path) -> None:
    """Whether images in the order of their names are pairs: as many, and where names are shared, all are.

    Raises:
        UserError: they are not.
    """
    if len(others) != len(names):
        raise UserError(f"--base {base} holds {len(others)} images, not {len(names)}: pairs are expected")
    here, there = set(names), set(others)
    if here & there and here != there:
        raise UserError(
            f"--base {base} holds {_some(sorted(there - here))} but not {_some(sorted(here - there))}: images are "
            "paired by their names; where no name is in both folders, by their order"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
