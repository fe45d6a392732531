"""What a setting's value may be: types of the fields of `StudyConfig`, and how each is read from a flag or a YAML."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from configs import UserError, shortened
from freeu.sampling import sizes_of


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty: give a value, or leave it out")
    return text


def _one(found: Any) -> Any:
    return (found,) if isinstance(found, str) else found


def _listed(found: Any) -> Any:
    if isinstance(found, str):
        found = [part for part in found.split(",") if part.strip()]
    if not isinstance(found, list | tuple):
        raise ValueError("expected a list of names, as clip,aesthetic,fid")
    return tuple(part.strip() if isinstance(part, str) else part for part in found)


def _counted(found: Any) -> Any:
    if not isinstance(found, str) or found in ("auto", "off"):
        return found
    if not found.isdecimal():
        raise ValueError("expected a whole number, auto or off")
    return int(found)


def _scales(found: Any) -> Any:
    if isinstance(found, str) and found != "off":
        with suppress(ValueError):
            if scales := tuple(float(part) for part in found.split(",") if part.strip()):
                return scales
        raise ValueError("expected guidance scales, as 3,5,9, or off")
    return (found,) if isinstance(found, int | float) else found


def _amounts(found: tuple[str, ...]) -> tuple[str, ...]:
    for each in found:
        with suppress(ValueError):
            if 0 < float(each.partition("=")[2]) < math.inf:
                continue
        raise ValueError(f"'{shortened(each)}' is no objective with a number above 0, as clip=0.1")
    return found


def _sized(found: Any) -> Any:
    try:
        return () if found in (None, (), []) else sizes_of(found)
    except UserError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


def _named(found: Any) -> Any:
    return _not_empty(found) if isinstance(found, str) else found


Count = Annotated[int, Field(ge=1, strict=True)]
CountAutoOrOff = Annotated[
    Count | Literal["auto", "off"] | None,
    BeforeValidator(_counted),
    AfterValidator(lambda found: None if found == "off" else found),
]
"""None stands for off, the default."""
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Text = Annotated[str, AfterValidator(_not_empty)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_one)]
"""Of a repeatable flag; in a YAML a list, or the only one."""
Names = Annotated[tuple[Text, ...], BeforeValidator(_listed)]
"""A,B; in a YAML a list, too."""
Scales = Annotated[tuple[Scale, ...] | Literal["off"] | None, BeforeValidator(_scales)]
Margins = Annotated[Texts, AfterValidator(_amounts)]
"""NAME=X each."""
Sizes = Annotated[tuple[tuple[int, int], ...], BeforeValidator(_sized)]
"""(width, height) each."""
Folder = Annotated[Path, BeforeValidator(_named), AfterValidator(Path.expanduser)]
NumberType = Literal["float32", "float16", "bfloat16"]
