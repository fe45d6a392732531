"""Metrics: pixels in, scores out.

`metrics.build(name, …)` gives a metric by name; `metrics.frechet_distance` and `metrics.aesthetic_head` are plain
functions for people with embeddings of their own. Importing it loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .registry import METRICS, build, describe

if TYPE_CHECKING:
    from .aesthetic import aesthetic_head
    from .base import Batch, Metric, MetricError, Score
    from .encoders import Encoder
    from .fid import frechet_distance, null_floor
    from .kernel import cmmd, kid

__all__ = [
    "METRICS",
    "Batch",
    "Encoder",
    "Metric",
    "MetricError",
    "Score",
    "aesthetic_head",
    "build",
    "cmmd",
    "describe",
    "frechet_distance",
    "kid",
    "null_floor",
]

_HOMES = {
    "Batch": "base",
    "Encoder": "encoders",
    "Metric": "base",
    "MetricError": "base",
    "Score": "base",
    "aesthetic_head": "aesthetic",
    "cmmd": "kernel",
    "frechet_distance": "fid",
    "kid": "kernel",
    "null_floor": "fid",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'metrics' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
