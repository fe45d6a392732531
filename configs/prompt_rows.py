"""One prompt of a set, from a row of whatever table it stands in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import UserError, quoted, shortened
from .prompt_questions import questions_of

COLUMNS = ("prompt", "prompts", "caption", "text")
"""What a table calls its prompts; the first that it has."""
NEGATIVES = ("negative", "negative_prompt")
CATEGORIES = ("category", "tag", "challenge")
PICTURES = ("control", "mask", "ip_image")
"""What it calls further pictures of a prompt."""
IMAGES = ("image", "file_name", "filename", "image_path", "image_name", "image_file", "filepath", "file", "path")
"""What a table calls the image that a prompt belongs to: `file_name` is Hugging Face's and COCO's."""


@dataclass(frozen=True)
class Prompt:
    """One line of a prompt set; the category is "" where the set has none.

    Attributes:
        negative: what its image is led away from; None where the set says nothing of it.
        image: what its image begins from: of a folder of pictures, or a table's column `image`.
        control: what a ControlNet holds its image to. mask: white where an inpainting model paints. ip_image: what
            an IP-Adapter reads.
        name: of the image that it belongs to, as its source says; None where that names none.
        questions: to be asked of its image, as its source says.
    """

    text: str
    category: str = ""
    image: str | None = None
    name: str | None = None
    negative: str | None = None
    control: str | None = None
    mask: str | None = None
    ip_image: str | None = None
    questions: tuple[str, ...] = ()


def prompt_of(row: Any, where: str) -> Prompt:
    """The prompt of a row: a text, or a mapping with one of `COLUMNS`, whatever its case. where: for errors.

    Raises:
        UserError: it is neither, or what should be a prompt is no text.
    """
    if isinstance(row, str):
        return Prompt(row.strip())
    if not isinstance(row, Mapping):
        raise UserError(f"{where}: expected a prompt or an object with a 'prompt', found {type(row).__name__}")
    cells = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
    column = next((name for name in COLUMNS if name in cells), None)
    if column is None:
        raise no_prompts(where, cells)
    text = cells[column]
    category = next((cells[name] for name in CATEGORIES if cells.get(name)), "")
    if text is not None and not isinstance(text, str):
        raise UserError(f"{where}: the prompt is {quoted(text)}, not text")
    negative = next((cells[name] for name in NEGATIVES if cells.get(name)), None)
    if negative is not None and not isinstance(negative, str):
        raise UserError(f"{where}: the negative prompt is {quoted(negative)}, not text")
    names = [name for column in IMAGES if (name := _name(cells.get(column)))]
    image, control, mask, ip_image = (_place(cells.get(column)) for column in ("image", *PICTURES))
    return Prompt(
        (text or "").strip(),
        str(category).strip(),
        image,
        names[0] if names else None,
        negative.strip() if negative else None,
        control,
        mask,
        ip_image,
        questions_of(cells, where),
    )


def _place(cell: Any) -> str | None:
    return cell.strip() or None if isinstance(cell, str) else None


def no_prompts(where: str, columns: Iterable[str]) -> UserError:
    """The error for a table without a column of prompts."""
    return UserError(f"{where}: no column 'prompt' among {shortened(', '.join(columns)) or 'none'}")


def has_prompt(item: Any) -> bool:
    """Whether `prompt_of` finds a prompt in it."""
    return isinstance(item, str) or (isinstance(item, Mapping) and any(str(key).lower() in COLUMNS for key in item))


def with_names(notes: list[Any], images: list[Any], file: str) -> Iterator[Any]:
    """COCO's annotations, each with the `file_name` of the image whose `image_id` it has.

    Raises:
        UserError: an annotation is of an image that is not there.
    """
    names = {str(each.get("id")): each.get("file_name") for each in images if isinstance(each, Mapping)}
    for number, note in enumerate(notes, 1):
        if not isinstance(note, Mapping) or "image_id" not in note:
            yield note
        elif (found := str(note["image_id"])) in names:
            yield {**note, "file_name": names[found]}
        else:
            raise UserError(f"{file}: annotation {number} is of image {found}, which is not among its images")


def _name(cell: Any) -> str | None:
    """A file's name, also in the {bytes, path} of Hugging Face's tables."""
    if isinstance(cell, Mapping):
        cell = cell.get("path")
    return cell.strip() or None if isinstance(cell, str) else None
