"""What a setting says of itself beside its type: a field of `StudyConfig` carries one in its annotation.

Flags, their help, the YAML keys, the fingerprint and the CLI reference are made from it, so that adding a setting is
adding one field.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

MODEL, SCORES, SEARCH, BUDGET = "The model and its images", "Prompts and scores", "The search", "How long"
MACHINE, PLACE = "The machine", "The study and its results"
"""What stands over a group of flags in --help."""


@dataclass(frozen=True)
class Setting:
    """
    Attributes:
        group: the heading of --help that it stands under.
        metavar: what stands for its value in --help; None for a switch.
        help: one line, without the default.
        default: in words, where the field's own default is None: "the model's".
        flag: without dashes, where it is not the field's name; a setting that may be given several times has the
            singular, and a YAML may use either.
        fingerprint: whether trials of another value would not compare with those before. What is resolved by the
            model (steps, guidance, …) is in the fingerprint by what it resolves to; see `search.settings.fingerprints`.
    """

    group: str
    metavar: str | None
    help: str
    default: str | None = None
    flag: str | None = None
    fingerprint: bool = False


def setting_of(field: FieldInfo) -> Setting:
    """The one that a field of `StudyConfig` carries."""
    return next(each for each in field.metadata if isinstance(each, Setting))


def flag_of(key: str, field: FieldInfo) -> str:
    """What the setting is called on the command line, with its dashes."""
    return "--" + (setting_of(field).flag or key).replace("_", "-")


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """The values that it can have, where its type lists them."""
    kind = bare(field.annotation)
    return get_args(kind) if get_origin(kind) is Literal else ()


def bare(annotation: Any) -> Any:
    """A type without `Annotated` and without `| None`."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return bare(next(each for each in get_args(annotation) if each is not type(None)))
    return annotation
