"""A check for settings that come from YAML, which reads `yes`, `no`, `on` and `off` as truth values.

pydantic takes these for 1 and 0 where a number is meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationInfo


def no_truth_value(model: type[BaseModel], value: Any, info: ValidationInfo) -> Any:
    """The value, for `field_validator("*", mode="before")`; "off" where that is a word of the field's.

    Raises:
        ValueError: it is another truth value, and the field takes none.
    """
    if isinstance(value, bool) and info.field_name is not None:
        kind = model.model_fields[info.field_name].annotation
        words = {word for each in get_args(kind) for word in get_args(each)}
        if value is False and "off" in words:
            return "off"
        if bool not in (kind, *get_args(kind)):
            raise ValueError("expected another value; YAML reads yes, no, on and off as true and false")
    return value
