"""Which prompt and which other image belong to an image of a folder, by their names.

Names are first compared as they are, then more and more loosely (`SPELLINGS`); the first spelling that fits all of them
decides. A name without a partner is an error: by their order images would get one another's.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from configs import UserError
from configs.image_files import SUFFIXES

SHOWN = 3
"""Names that an error tells."""
Parts = tuple[str, ...]
"""Of a path: its folders, and its name."""


def _same(parts: Parts) -> Parts:
    return parts


def _without_suffix(parts: Parts) -> Parts:
    name = PurePosixPath(parts[-1])
    return (*parts[:-1], name.stem if name.suffix.lower() in (*SUFFIXES, ".txt") else name.name)


def _without_zeros(parts: Parts) -> Parts:
    return tuple(re.sub(r"(?<!\d)0+(?=\d)", "", part) for part in _without_suffix(parts))


def _without_folders(parts: Parts) -> Parts:
    return _without_zeros(parts)[-1:]


def _numbers(parts: Parts) -> Parts:
    return tuple(re.findall(r"\d+", _without_folders(parts)[0]))


SPELLINGS: tuple[Callable[[Parts], Parts], ...] = (_same, _without_suffix, _without_zeros)
"""a/01.png as it is, as a/01, and as a/1."""


def prompts_by_name(names: Sequence[str], given: Iterable[tuple[str, str]], source: Path) -> tuple[str, ...]:
    """The prompt of each image, by paths that end alike: "runs/a/0.png" and "0.png" are names of "a/0.png".

    names: of the images, relative to their folder. given: (image, prompt) pairs, as `source` has them.

    Raises:
        UserError: an image has no prompt, or several that differ.
    """
    images = [_parts(name) for name in names]
    prompts = [(parts, text) for image, text in given if (parts := _parts(image))]
    found = _ending_alike(images, prompts)
    for spelling in SPELLINGS:
        keys = [spelling(parts) for parts in images]
        if len(set(keys)) == len(keys):  # else two images would share a prompt of one of them
            found = _ending_alike(keys, [(spelling(parts), text) for parts, text in prompts])
        if all(len(texts) == 1 for texts in found):
            return tuple(text for (text,) in found)
    if missing := [name for name, texts in zip(names, found, strict=True) if not texts]:
        raise UserError(
            f"{source} has no prompt for {_some(missing)} ({len(missing)} of {len(names)} images): prompts that name "
            "images go by those names; a text file has one a line, in the order of the images"
        )
    unclear = [name for name, texts in zip(names, found, strict=True) if len(texts) > 1]
    raise UserError(
        f"{source} has several prompts for {_some(unclear)}: leave the one that the image was made from, or name "
        "images by their folders too"
    )


def _ending_alike(images: Sequence[Parts], prompts: Sequence[tuple[Parts, str]]) -> list[set[str]]:
    """The prompts of each image: those of the paths that share most of its end."""
    known: defaultdict[str, list[tuple[Parts, str]]] = defaultdict(list)
    for parts, text in prompts:
        known[parts[-1]].append((parts, text))
    found = []
    for own in images:
        ends = [(parts, text) for parts, text in known[own[-1]] if parts[-len(own) :] == own[-len(parts) :]]
        alike = max((min(len(parts), len(own)) for parts, _ in ends), default=0)
        found.append({text for parts, text in ends if min(len(parts), len(own)) == alike})
    return found


def pairs(names: Sequence[str], others: Sequence[str], base: Path) -> tuple[list[int], bool]:
    """(for each image the place of its partner among the others, whether their names say so).

    Where the folders share no name, not in any spelling, the order of the names pairs them.

    Raises:
        UserError: an image has no partner.
    """
    unpaired = None
    for spelling in (*SPELLINGS, _without_folders, _numbers):
        here, there = ([spelling(_parts(name)) for name in each] for each in (names, others))
        alone = len(set(here)) == len(names) and len(set(there)) == len(others)
        if alone and set(here) == set(there):
            places = {key: place for place, key in enumerate(there)}
            return [places[key] for key in here], True
        if set(here) & set(there) and here != there and (alone or spelling is not _numbers):
            unpaired = unpaired or _unpaired(dict(zip(here, names, strict=True)), dict(zip(there, others, strict=True)))
    if unpaired:
        raise UserError(f"--base {base} {unpaired}: images are paired by their names")
    if len(names) != len(others):
        raise UserError(f"--base {base} holds {len(others)} images, not {len(names)}: pairs are expected")
    return list(range(len(names))), False


def _unpaired(here: Mapping[Parts, str], there: Mapping[Parts, str]) -> str:
    lacking = [name for key, name in here.items() if key not in there]
    more = [name for key, name in there.items() if key not in here]
    said = [f"lacks {_some(lacking)}"] if lacking else []
    said += [f"holds {_some(more)} beyond the images"] if more else []
    return " and ".join(said) or "has its images in other folders"


def _parts(name: str) -> Parts:
    return PurePosixPath(unicodedata.normalize("NFC", name).replace("\\", "/")).parts


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
