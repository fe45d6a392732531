"""Metrics by name. Describing one loads nothing heavy; building one loads its encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from configs import UserError, unknown

if TYPE_CHECKING:
    from .base import Metric


@dataclass(frozen=True)
class MetricInfo:
    """What is known of a metric before it is built."""

    name: str
    direction: Literal["up", "down"]
    per_image: bool


METRICS = {
    "clip": MetricInfo("clip", "up", True),
    "aesthetic": MetricInfo("aesthetic", "up", True),
    "fid": MetricInfo("fid", "down", False),
}


def describe(name: str) -> MetricInfo:
    """What a metric is. Raises UserError for an unknown one, with the nearest."""
    if name not in METRICS:
        raise unknown("objective", name, METRICS)
    return METRICS[name]


def build(
    name: str,
    scorers: Mapping[str, Mapping[str, Any]],
    device: str,
    models: Path,
    reference: Mapping[str, Any] | None = None,
) -> Metric:
    """A metric, ready to score.

    Args:
        scorers: a model's scorers by metric, as its YAML has them.
        models: the folder that relative paths are relative to.
        reference: what a metric of the set compares with.

    Raises:
        UserError: an unknown metric, one that the model has no scorer for, or weights that can't be had.
    """
    describe(name)
    if name not in scorers:
        raise UserError(f"the model has no scorer for '{name}': its YAML names {', '.join(scorers) or 'none'}")
    from .encoders import encoder

    spec = scorers[name]
    reads = encoder(spec.get("encoder", spec), device, models)
    if name == "clip":
        from .clip import ClipScore

        return ClipScore(reads)
    if name == "aesthetic":
        from .aesthetic import LAION_ENCODER, AestheticScore, aesthetic_head, laion_head

        if spec["kind"] == "laion_v2" and reads.identity != LAION_ENCODER:
            raise UserError(f"LAION's aesthetic head reads {LAION_ENCODER}, and the YAML names {reads.identity}")
        file = models / Path(spec["file"]).expanduser() if spec.get("file") else laion_head()
        return AestheticScore(reads, aesthetic_head(file, reads.identity))
    from .fid import Fid
    from .reference import load_reference

    if reference is None:
        raise UserError(f"'{name}' compares with a reference, and none is given")
    return Fid(reads, load_reference(reference, reads, models))
