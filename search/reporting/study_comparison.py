"""Compares the picks of two studies on the held-out prompts that both have.

If both were scored under the same seeds, the comparison is paired, prompt by prompt; otherwise the two sides are
independent samples of prompts' means, compared by Welch's t. Holm's correction covers every candidate times objective.
Scores that were measured in different ways are not compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import UserError
from freeu import Factors, Sampling
from freeu.presets.sampled import worded
from search.storage import StudyFolder
from search.study.held_out import BASE
from search.study.verdict import measurable
from search.terminal.study_status import finished

if TYPE_CHECKING:
    import pandas as pd

KEYS = ["prompt", "seed"]
FEWEST = 2  # prompts that both have


@dataclass(frozen=True)
class Side:
    """A study as it is compared.

    picks: name → trial, "baseline" before all; of trials that are the baseline, and of that itself, the trial is None.
    tables: trial → per-image scores on the held-out prompts. sets: trial → objective that scores a set → its value.
    """

    name: str
    model: str
    directions: Mapping[str, str]
    sampling: Sampling
    fingerprint: Mapping[str, Any]
    picks: dict[str, int | None]
    tables: dict[int | None, pd.DataFrame]
    sets: dict[int | None, dict[str, float]]


def side(folder: StudyFolder) -> Side:
    """Raises UserError where the study is not finished, or kept no scores of single images."""
    result, base = finished(folder), folder.read_held_out(BASE)
    if base is None:
        raise UserError(
            f"study '{folder.name}' has no scores on held-out prompts to compare: none of its picks was confirmed, or "
            "an older version confirmed them"
        )
    picks: dict[str, int | None] = {BASE: None}
    tables: dict[int | None, pd.DataFrame] = {None: base}
    sets: dict[int | None, dict[str, float]] = {}
    for pick in result["picks"]:
        table = folder.read_held_out(f"{pick['number']:04d}")
        of_set = {name: score for name, score in pick["scores"].items() if name not in base}
        if Factors.from_dict(pick["factors"]).identity:
            picks[pick["pick"]] = None
        elif pick["scores"] and table is not None:
            picks[pick["pick"]] = pick["number"]
            tables[pick["number"]] = table
            sets[pick["number"]] = {name: score["value"] for name, score in of_set.items()}
            sets[None] = {name: score["base"] for name, score in of_set.items()}
    fingerprint = folder.read_settings()["fingerprint"]
    sampling = Sampling.from_dict(result.get("sampling", {}))
    return Side(folder.name, str(result["model"]), result["objectives"], sampling, fingerprint, picks, tables, sets)


def compared(a: Side, b: Side, seed: int = 0) -> dict[str, Any]:
    """What the two got, and b - a.

    Returns a, b (study, model of each, and `sampling`: of its settings those that the other one has otherwise, in
    words), paired, n (prompts), note, and rows: candidate, objective, direction, a, b,
    difference, low, high (95 %), p, p_holm, win_rate (of b), counts. A distance of sets has values and the difference
    alone, and those only where both are of the same prompts.

    Raises:
        UserError: they can't be compared; says why.
    """
    _check(a, b)
    paired, note, (one, two) = _matched(a, b)
    whole = len(one[None]) == len(a.tables[None]) == len(b.tables[None])
    rows = []
    for candidate, (left, right) in candidates(a, b).items():
        for objective, direction in a.directions.items():
            row: dict[str, Any] = {"candidate": candidate, "objective": objective, "direction": direction}
            if objective in one[None] and objective in two[None]:
                x, y = one[left][objective].to_numpy(), two[right][objective].to_numpy()
                prompts = one[left]["prompt"], two[right]["prompt"]
                found = _paired(x, y, prompts[0], seed) if paired else _unpaired(_by(x, prompts[0]), _by(y, prompts[1]))
                if direction == "down" and found["win_rate"] is not None:
                    found["win_rate"] = 1 - found["win_rate"]
                rows.append(row | {"a": float(x.mean()), "b": float(y.mean())} | found)
            elif whole and objective in a.sets.get(left, {}) and objective in b.sets.get(right, {}):
                u, v = a.sets[left][objective], b.sets[right][objective]
                unknown = dict.fromkeys(("low", "high", "p", "win_rate"))
                rows.append(row | {"a": u, "b": v, "difference": v - u} | unknown)
    missing = [name for name in a.directions if name not in {row["objective"] for row in rows}]
    # Of one model, the baseline is the same on both sides: nothing to test.
    told = [row for row in rows if not row["candidate"].startswith(BASE) or row["difference"] or row["low"]] or rows
    if missing:
        note += f"; {', '.join(missing)} left out: a distance of sets compares on one set of prompts alone"
    return {
        "a": {"study": a.name, "model": a.model, "sampling": _other(a, b)},
        "b": {"study": b.name, "model": b.model, "sampling": _other(b, a)},
        "paired": paired,
        "n": one[None]["prompt"].nunique(),
        "note": note,
        "rows": _corrected(told),
    }


def _other(one: Side, two: Side) -> str:
    """The sampling settings of one that the other has otherwise."""
    other = worded(two.sampling)
    found = [each for name, each in worded(one.sampling).items() if each != other.get(name)]
    return ", ".join(found)


def _check(a: Side, b: Side) -> None:
    both = f"'{a.name}' and '{b.name}'"
    if a.name == b.name:
        raise UserError(f"{both} are one study: name two")
    if dict(a.directions) != dict(b.directions):
        objectives = " and ".join(",".join(each.directions) for each in (a, b))
        raise UserError(f"{both} don't compare: they have other objectives ({objectives})")
    if any(a.fingerprint.get(key) != b.fingerprint.get(key) for key in ("scorers", "scorer_weights")):
        raise UserError(
            f"{both} don't compare: their objectives are measured by other encoders, or with another reference"
        )


def _matched(a: Side, b: Side) -> tuple[bool, str, tuple[dict[int | None, pd.DataFrame], ...]]:
    """(whether in pairs, a note, both sides' tables on what they share, in one order)."""
    one, two = a.tables[None], b.tables[None]
    shared = one.merge(two, on=KEYS)[KEYS]
    if len(shared) >= FEWEST:
        tables = tuple(
            {number: shared.merge(table, on=KEYS, how="left") for number, table in each.tables.items()}
            for each in (a, b)
        )
        return True, f"in pairs, on {_of(shared['prompt'].nunique(), one, two)} under the same seeds", tables
    prompts = set(one["prompt"]) & set(two["prompt"])
    if len(prompts) < FEWEST:
        raise UserError(
            f"'{a.name}' and '{b.name}' don't compare: they were confirmed on other prompts ({len(prompts)} in common)"
        )
    tables = tuple(
        {number: table[table["prompt"].isin(prompts)] for number, table in each.tables.items()} for each in (a, b)
    )
    return False, f"unpaired, on {_of(len(prompts), one, two)}, since their seeds differ", tables


def _of(n: int, one: pd.DataFrame, two: pd.DataFrame) -> str:
    each = [table["prompt"].nunique() for table in (one, two)]
    return f"{n} prompts" if each == [n, n] else f"{n} prompts that both have (of {each[0]} and {each[1]})"


def candidates(a: Side, b: Side) -> dict[str, tuple[int | None, int | None]]:
    """What is compared, by the names of the picks; the same two trials once."""
    grouped: dict[tuple[int | None, int | None], list[str]] = {}
    for name, number in a.picks.items():
        if name in b.picks:
            grouped.setdefault((number, b.picks[name]), []).append(name)
    return {" = ".join(names): numbers for numbers, names in grouped.items()}


def _paired(x: np.ndarray, y: np.ndarray, prompts: Any, seed: int) -> dict[str, Any]:
    from metrics import stats

    found = stats.paired(y, x, list(prompts), np.random.default_rng(seed))
    ends = {name: end if math.isfinite(end) else None for name, end in (("low", found.low), ("high", found.high))}
    return {"difference": found.mean, **ends, "p": found.p, "win_rate": found.win_rate}


def _by(scores: np.ndarray, prompts: pd.Series) -> np.ndarray:
    """The mean of each prompt: its images are not independent of one another."""
    import pandas as pd

    return pd.Series(scores).groupby(prompts.to_numpy()).mean().to_numpy()


def _unpaired(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Welch's; two constant samples have no spread to judge by, and get no p."""
    from scipy.stats import ttest_ind

    difference = float(y.mean() - x.mean())
    if np.ptp(x) == 0 and np.ptp(y) == 0:
        return {"difference": difference, "low": None, "high": None, "p": None, "win_rate": None}
    found = ttest_ind(y, x, equal_var=False)
    low, high = found.confidence_interval()
    return {
        "difference": difference,
        "low": float(low),
        "high": float(high),
        "p": float(found.pvalue),
        "win_rate": None,
    }


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from metrics import stats

    tested = [row for row in rows if row["p"] is not None]
    for row, p in zip(tested, stats.holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = float(p)
    return [{"p_holm": None, **row, "counts": row["p"] is not None and measurable(row)} for row in rows]
