"""FreeU: factors in, pixels out.

    with freeu.applied(pipe.unet, freeu.Factors(b1=1.3, b2=1.4, s1=0.9, s2=0.2)):
        image = pipe("a lighthouse at dusk").images[0]

Importing it loads nothing heavy; torch comes with the first use of what needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .controls import Controls, FactorsError
from .factors import IDENTITY, PUBLISHED, Factors
from .sampling import Candidate, Sampling, SamplingError

if TYPE_CHECKING:
    from .concat import modulate
    from .filter import skip_filter
    from .hub import from_pretrained, push_to_hub
    from .patch import applied, disable, enable

__all__ = [
    "IDENTITY",
    "PUBLISHED",
    "Candidate",
    "Controls",
    "Factors",
    "FactorsError",
    "Sampling",
    "SamplingError",
    "applied",
    "disable",
    "enable",
    "from_pretrained",
    "modulate",
    "push_to_hub",
    "skip_filter",
]

_HOMES = {
    "applied": "patch",
    "disable": "patch",
    "enable": "patch",
    "from_pretrained": "hub",
    "modulate": "concat",
    "push_to_hub": "hub",
    "skip_filter": "filter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'freeu' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
