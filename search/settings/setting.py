"""What a setting has beside its type and default: help, flag, group. A field of `StudyConfig` carries it as annotation.

Flags, their help, YAML keys, the fingerprint and the CLI reference are made from it, so a new setting is one new
field.
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
    """How a setting appears to the user.

    Attributes:
        group: its heading in --help.
        metavar: the placeholder for its value in --help; None for a switch.
        help: one line, without the default.
        default: the default in words ("the model's"), if the field's own default is None.
        flag: without dashes, if it differs from the field's name; a repeatable setting has a singular here, and a YAML
            may use either.
        fingerprint: whether trials under another value can't be compared. Values that the model resolves (steps,
            guidance, …) enter the fingerprint as resolved; see `search.settings.fingerprints`.
    """

    group: str
    metavar: str | None
    help: str
    default: str | None = None
    flag: str | None = None
    fingerprint: bool = False


def setting_of(field: FieldInfo) -> Setting:
    """The `Setting` of a field of `StudyConfig`."""
    return next(each for each in field.metadata if isinstance(each, Setting))


def flag_of(key: str, field: FieldInfo) -> str:
    """The setting's flag, with dashes."""
    return "--" + (setting_of(field).flag or key).replace("_", "-")


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """The allowed values, if the field's type lists them; else empty."""
    kind = bare(field.annotation)
    return get_args(kind) if get_origin(kind) is Literal else ()


def bare(annotation: Any) -> Any:
    """A type without `Annotated` and without `| None`; of several types the union as it is."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return bare(kinds[0]) if len(kinds) == 1 else annotation
    return annotation
