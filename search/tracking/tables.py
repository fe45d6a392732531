"""A study's results in the forms that MLflow takes: flat names, numbers, tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from search.storage.trial_record import TrialRecord


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} → ("a.b", 1)."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def front_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each trial of the front. result: as result.json holds it."""
    import pandas as pd

    return pd.DataFrame([dict(flat(row)) for row in result.get("front", [])], dtype=object)


def trial_metrics(record: TrialRecord) -> dict[str, float]:
    """The numbers of a trial, objectives under their own names."""
    found = {name: value.value for name, value in record.values.items()}
    found |= {f"{name}.se": value.paired for name, value in record.values.items()}
    found |= {f"seconds.{part}": seconds for part, seconds in record.seconds.items()}
    found |= {f"guardrail.{name}": shift for name, shift in record.guardrails.items()}
    found |= {"images": record.images, "unet_evaluations": record.unet_evaluations}
    if record.rungs:
        found["rung"] = len(record.rungs)
    if record.peak_memory:
        found["peak_memory_gb"] = record.peak_memory / 1e9
    generating = record.seconds.get("generate", 0.0)
    if generating > 0 and record.unet_evaluations:  # else all scores were known from before
        found["images_per_second"] = record.images / generating
    return found


def held_out_metrics(pick: Mapping[str, Any]) -> dict[str, float]:
    """A pick's held-out scores: `held_out/clip`, and `.difference`, `.low`, `.high` against the baseline."""
    metrics: dict[str, float] = {}
    for metric, score in pick.get("scores", {}).items():
        name = f"held_out/{metric}"  # a section of its own in MLflow's charts
        metrics[name] = score["value"]
        metrics |= {f"{name}.{key}": score[key] for key in ("difference", "low", "high") if score.get(key) is not None}
    return metrics
