"""A report's tables as plain rows, which the page offers as CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.study import rival

if TYPE_CHECKING:
    from search.reporting.held_out_pairs import Pairs
    from search.storage import TrialRecord

Rows = list[dict[str, Any]]
SCORE = ("value", "base", "difference", "low", "high", "p", "p_holm", "win_rate", "n")


def tables(result: Mapping[str, Any], records: Sequence[TrialRecord], kept: Pairs | None) -> dict[str, Rows]:
    """Name of a file → its rows: picks, trials, held-out. All numbers are as they are, not rounded."""
    return {"picks": _picks(result), "trials": [_trial(record) for record in records], "held-out": _held_out(kept)}


def _picks(result: Mapping[str, Any]) -> Rows:
    """Objectives, then judges: against the baseline, and where a pick has a rival against that."""
    rows: Rows = []
    for pick in result["picks"]:
        sides = [("baseline", pick)]
        if (found := rival.of_pick(pick)) is not None:
            sides.append((f"trial {found['number']}: {found['named']}", found))
        about = {"pick": pick["pick"], "trial": pick["number"]}
        for against, side in sides:
            for kind, searched in (("scores", "yes"), ("judges", "no")):
                for name, score in side.get(kind, {}).items():
                    told = {key: score.get(key) for key in SCORE}
                    rows.append({**about, "against": against, "objective": name, "searched": searched, **told})
    return rows


def _trial(record: TrialRecord) -> dict[str, Any]:
    f = record.factors
    row: dict[str, Any] = {"trial": record.number, "from": record.origin, "state": record.state}
    row |= {"b1": f.b1, "b2": f.b2, "s1": f.s1, "s2": f.s2, "prompts": record.images}
    if settings := rival.named(record.sampling):
        row["settings"] = settings
    for name, value in record.values.items():
        row |= {name: value.value, f"{name}.error": value.paired if math.isfinite(value.paired) else None}
    return row | ({"guardrails": record.violation <= 0} if record.guardrails else {})


def _held_out(kept: Pairs | None) -> Rows:
    if kept is None:
        return []
    scores = {"baseline": kept.base, **{f"trial {number}": table for number, table in kept.picks.items()}}
    return [
        {
            "prompt": str(kept.base["prompt"][row]),
            "category": str(kept.base["category"][row]),
            "seed": int(kept.base["seed"][row]),
            **{f"{name}, {who}": float(table[name][row]) for name in kept.directions for who, table in scores.items()},
        }
        for row in range(len(kept.base))
    ]
