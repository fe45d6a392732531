"""A check for settings that come from YAML, which reads `yes`, `no`, `on` and `off` as truth values.

pydantic takes these for 1 and 0 where a number is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationInfo


def no_truth_value(model: type[BaseModel], value: Any, info: ValidationInfo) -> Any:
    """The value, for `field_validator("*", mode="before")`. Raises ValueError where it is a truth value, and
    the field takes none."""
    if isinstance(value, bool) and info.field_name is not None:
        kind = model.model_fields[info.field_name].annotation
        if bool not in (kind, *get_args(kind)):
            raise ValueError("expected another value; YAML reads yes, no, on and off as true and false")
    return value
