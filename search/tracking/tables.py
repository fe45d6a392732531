"""A study's results in the forms that MLflow takes: flat names, numbers, tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from search.storage import TrialRecord

HELD_OUT = ("difference", "low", "high", "p_holm")
"""Of a pick's score: to the baseline, with the ends of its 95 % interval, and the corrected p-value."""

SECTIONS = {"scores": "held_out", "judges": "judges"}
"""Of a pick in result.json: what the search read, and what it never did."""


def flat(tree: Mapping[str, Any], prefix: str = "", between: str = ".") -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} → ("a.b", 1)."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}{between}", between)
        else:
            yield f"{prefix}{key}", value


def front_table(result: Mapping[str, Any], base: TrialRecord | None = None) -> pd.DataFrame:
    """A row for each trial of the front. No column's name has a dot: MLflow's page takes one for a path into the cell.

    result: as result.json holds it. base: the baseline's trial, for differences.
    """
    import pandas as pd

    return pd.DataFrame([_front_row(row, result, base) for row in result.get("front", [])], dtype=object)


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """`front_table` as a page shows it: the picks first, four digits, nothing where there is no number."""
    picked = table.assign(order=[not picks for picks in table["picks"]]).sort_values("order", kind="stable")
    return picked.drop(columns="order").map(_shown).astype(object)


def _shown(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _front_row(row: Mapping[str, Any], result: Mapping[str, Any], base: TrialRecord | None) -> dict[str, Any]:
    picks = [pick for pick in result.get("picks", []) if pick["number"] == row["number"]]
    found = {"trial": row["number"], "picks": ", ".join(pick["pick"] for pick in picks), "origin": row.get("origin")}
    found |= dict(flat(row["factors"], between="_"))
    for name in result.get("objectives", {}):
        value, held_out = row.get(name), picks[0]["scores"].get(name, {}) if picks else {}
        found[name] = value
        found[f"expected_{name}"] = row.get("expected", {}).get(name)
        zero = None if base is None else base.values.get(name)
        found[f"difference_{name}"] = None if zero is None or value is None else value - zero.value
        found[f"error_{name}"] = (row.get("errors") or {}).get(name)
        found |= {f"held_out_{key}_{name}": held_out.get(key) for key in HELD_OUT}
    return {key: str(value) if isinstance(value, list | tuple) else value for key, value in found.items()}


def baseline(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The baseline's trial, once it is complete."""
    return next((record for record in records if record.complete and record.candidate.baseline), None)


def ranks(records: Sequence[TrialRecord], result: Mapping[str, Any]) -> dict[int, int]:
    """Trial → its rank: 1 on the front; 2 on what would be the front without these, by the trials' own scores; and so
    on. Complete trials within the guardrails alone have one. result: as result.json holds it."""
    import numpy as np

    from search.optimizer.pareto_front import nondominated

    found = dict.fromkeys((row["number"] for row in result.get("front", [])), 1)
    rest = [record for record in records if record.complete and record.feasible and record.number not in found]
    signs = {name: 1 if way == "up" else -1 for name, way in result.get("objectives", {}).items()}
    table = np.array([[sign * record.values[name].value for name, sign in signs.items()] for record in rest])
    rank, left = 1, np.arange(len(rest))
    while signs and len(left):
        rank, best = rank + 1, nondominated(table[left])
        found |= dict.fromkeys((rest[row].number for row in left[best]), rank)
        left = left[~best]
    return found


def trial_metrics(record: TrialRecord, base: TrialRecord | None = None) -> dict[str, float]:
    """The numbers of a trial, objectives under their own names. base: the baseline's trial, for differences."""
    found: dict[str, float] = {}
    for name, value in record.values.items():
        found[name] = value.value
        if base is not None and name in base.values and not record.candidate.baseline:
            found[f"{name}.difference"] = value.value - base.values[name].value
        found[f"{name}.difference.se"] = value.paired
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
    """A pick's held-out scores: `held_out/clip`, and `.difference`, `.low`, `.high`, `.p_holm` against the baseline;
    against its rival `.rival.difference` and so on. The same of judges, which the search never read: `judges/kid`."""
    metrics: dict[str, float] = {}
    for kind, section in SECTIONS.items():  # a section of its own in MLflow's charts
        for metric, score in pick.get(kind, {}).items():
            metrics[f"{section}/{metric}"] = score["value"]
            metrics |= _differences(pick, metric, f"{section}/{metric}", kind)
    return metrics


def _differences(pick: Mapping[str, Any], metric: str, name: str, kind: str = "scores") -> dict[str, float]:
    """To the baseline, and to the rival where it has one. kind: of `SECTIONS`."""
    rival = pick.get("against", {}).get("tuned_baseline", {}).get(kind, {})
    scores = {name: pick.get(kind, {}).get(metric, {}), f"{name}.rival": rival.get(metric, {})}
    return {
        f"{prefix}.{key}": score[key]
        for prefix, score in scores.items()
        for key in HELD_OUT
        if score.get(key) is not None
    }


def study_metrics(result: Mapping[str, Any], base: TrialRecord | None = None) -> dict[str, float]:
    """The numbers of a study: `clip` is what the model expects of the front's best, `clip.baseline` the baseline's, and
    `clip.difference`, `.low`, `.high`, `.p_holm` what the verdict goes by, held out; `clip.rival.difference` and so on
    are against the rival. `kid.difference` is what a judge says of that pick. `fid.floor` is what `fid.floor.n`
    real images score. base: the baseline's trial."""
    found: dict[str, float] = {}
    taken = _taken(result)
    for name, way in result.get("objectives", {}).items():
        values = [row.get("expected", {}).get(name, row.get(name)) for row in result.get("front", [])]
        if known := [value for value in values if value is not None]:
            found[name] = max(known) if way == "up" else min(known)
        if base is not None and name in base.values:
            found[f"{name}.baseline"] = base.values[name].value
        found |= _differences(taken, name, name)
    for name, each in result.get("set_distances", {}).items():
        found |= {f"{name}.floor.n": each["n"]} | ({} if each["floor"] is None else {f"{name}.floor": each["floor"]})
    for name in result.get("judges", {}):
        found |= _differences(taken, name, name, "judges")  # in no section of its own: it would stand before `trial/`
    return found


def _taken(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pick to take away, or where there is none the first finalist."""
    picks: Sequence[Mapping[str, Any]] = [pick for pick in result.get("picks", []) if pick.get("scores")]
    take = next((pick for pick in picks if pick["pick"] == result.get("take_away")), None)
    return take or next(iter(picks), {})
