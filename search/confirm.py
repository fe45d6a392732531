"""The picks again, on prompts and seeds that the search never saw, against no FreeU with the same noise.

The datum is the paired difference: same prompt, same seed, with and without FreeU. Holm's correction covers every
pick times objective that was compared. What was generated is kept, so a killed confirmation goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs import UserError
from freeu import IDENTITY, Factors
from search.evaluate import Evaluator, OnImages, value_of
from search.front import Pick
from search.records import StudyFolder, replacing
from search.samplers import derived

LEVEL = 0.05
BASE = "no FreeU"


@dataclass(frozen=True)
class Sample:
    """What one candidate got on the held-out prompts, by objective.

    values: the scores. data: (n,) per-image scores, or (n, d) features where the objective scores a set.
    """

    values: dict[str, float]
    data: dict[str, np.ndarray]


def candidates(picks: Sequence[Pick], factors: Mapping[int, Factors]) -> dict[int, Factors]:
    """What is to be scored again: each picked candidate once, by trial number, no FreeU itself left out."""
    return {pick.number: factors[pick.number] for pick in picks if not factors[pick.number].identity}


def missing(folder: StudyFolder, numbers: Sequence[int]) -> int:
    """How many passes a confirmation of these trials still takes, that of no FreeU included."""
    names = [BASE, *(f"{number:04d}" for number in numbers)] if numbers else []
    return sum(not folder.confirm_file(name).exists() for name in names)


def confirm(
    folder: StudyFolder,
    evaluator: Evaluator,
    picked: Mapping[int, Factors],
    *,
    seed: int,
    began: Callable[[str, int, int], None],
    failed: Callable[[int, str], None] = lambda number, reason: None,
    on_images: OnImages | None = None,
) -> dict[int, dict[str, dict[str, Any]]]:
    """Score the picked candidates and no FreeU on the evaluator's (held-out) prompts; compare in pairs.

    began: told (what, passes after it, images) before each pass. failed: told (trial number, reason) of a candidate
    whose images or scores are none on these prompts: it is left out, and the others are confirmed.

    Returns trial number → objective → value, base, difference (value - base), low, high (95 %), p, p_holm, win_rate,
    n; nothing for no picked candidate.
    """
    if not picked:
        return {}
    left = missing(folder, list(picked))
    samples: dict[int | None, Sample] = {}
    for number, factors in [(None, IDENTITY), *picked.items()]:
        file = folder.confirm_file(BASE if number is None else f"{number:04d}")
        sample = _read(file, evaluator) if file.exists() else None
        if sample is None:
            left -= 1
            began(BASE if number is None else f"trial {number}", max(0, left), len(evaluator.prompts))
            try:
                sample = _sample(evaluator, factors, on_images)
            except Exception as error:  # as in a trial: it costs this candidate, not the study
                if number is None:
                    raise UserError(f"no FreeU could not be scored on the held-out prompts: {error}") from error
                failed(number, " ".join(str(error).split()) or type(error).__name__)
                continue
            _write(file, sample)
        samples[number] = sample
    base = samples.pop(None)
    found = {
        number: {
            name: _compared(metric, sample, base, name, evaluator, derived(seed, "confirm", name))
            for name, metric in evaluator.metrics.items()
        }
        for number, sample in samples.items()
        if number is not None
    }
    return _corrected(found)


def _sample(evaluator: Evaluator, factors: Factors, on_images: OnImages | None) -> Sample:
    batch = evaluator.batch(evaluator.images(factors, on_images))
    values, data = {}, {}
    metrics: Mapping[str, Any] = evaluator.metrics  # a metric of the set has features and a distance besides
    for name, metric in metrics.items():
        score = evaluator.score(metric, batch)
        values[name] = value_of(score).value
        data[name] = np.asarray(score.per_image if metric.per_image else metric.features(batch))
    return Sample(values, data)


def _compared(metric: Any, sample: Sample, base: Sample, name: str, evaluator: Evaluator, seed: int) -> dict[str, Any]:
    from metrics import stats

    a, b, rng = sample.data[name], base.data[name], np.random.default_rng(seed)
    if metric.per_image:
        pair = stats.paired(a, b, evaluator.prompts, rng)
    else:
        pair = stats.paired_set(a, b, metric.distance, evaluator.prompts_by_frame, rng)
    wins = float(pair.win_rate)  # the share of pairs where a > b
    return {
        "value": sample.values[name],
        "base": base.values[name],
        "difference": float(pair.mean),
        "low": float(pair.low),
        "high": float(pair.high),
        "p": float(pair.p),
        "detectable": float(pair.detectable) if np.isfinite(pair.detectable) else None,
        "win_rate": (wins if metric.direction == "up" else 1 - wins) if np.isfinite(wins) else None,
        "n": len(evaluator.prompts),
    }


def _corrected(found: dict[int, dict[str, dict[str, Any]]]) -> dict[int, dict[str, dict[str, Any]]]:
    from metrics import stats

    rows = [row for scores in found.values() for row in scores.values()]
    for row, p in zip(rows, stats.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = float(p)
    return found


def _write(file: Path, sample: Sample) -> None:
    arrays: dict[str, Any] = {f"value:{name}": np.float64(value) for name, value in sample.values.items()}
    arrays |= {f"data:{name}": array for name, array in sample.data.items()}
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _read(file: Path, evaluator: Evaluator) -> Sample | None:
    """What was kept; None where it was on another number of prompts."""
    try:
        with np.load(file) as kept:
            values = {name: float(kept[f"value:{name}"]) for name in evaluator.metrics}
            data = {name: kept[f"data:{name}"] for name in evaluator.metrics}
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} can't be read ({error}): remove it to have it made again") from error
    for name, metric in evaluator.metrics.items():
        if len(data[name]) != len(evaluator.prompts if metric.per_image else evaluator.prompts_by_frame):
            return None
    return Sample(values, data)


def verdict(
    picks: Sequence[Pick],
    scores: Mapping[int, Mapping[str, Mapping[str, Any]]],
    directions: Mapping[str, str],
    picked: int | None = None,
) -> str:
    """What a person takes away, in a sentence or two. An effect counts where it is `measurable`.

    picked: how many candidates were to be confirmed; None is as many as were.
    """
    if not scores and picked:
        return "Nothing can be said of FreeU here: no pick could be scored on the held-out prompts."
    if not scores:
        return "FreeU does not help here: no candidate was better than no FreeU, so there is nothing to confirm."
    sides = {number: _sides(rows, directions) for number, rows in scores.items()}
    helped = {number: better for number, (better, worse) in sides.items() if better and not worse}
    traded = {number: side for number, side in sides.items() if side[0] and side[1]}
    n = max(row["n"] for rows in scores.values() for row in rows.values())
    on = f"on {n} held-out prompts"
    if helped:
        number = max(helped, key=lambda k: len(helped[k]))
        good = _listed(helped[number], scores[number])
        return f"FreeU helps here: {_named(number, picks)} is better {on} in {good}, and measurably worse in nothing."
    if traded:
        number = max(traded, key=lambda k: len(traded[k][0]) - len(traded[k][1]))
        good, bad = (_listed(side, scores[number]) for side in traded[number])
        return f"FreeU trades here: {_named(number, picks)} is better {on} in {good}, but worse in {bad}."
    worse = [number for number, side in sides.items() if side[1]]
    also = ""
    if worse:
        number = worse[0]
        also = f" {_named(number, picks).capitalize()} is worse in {_listed(sides[number][1], scores[number])}."
    tried = f"none of {len(scores)} picks is" if len(scores) > 1 else "the pick is not"
    return f"FreeU does not help here: {tried} measurably better than no FreeU {on}.{also}{_resolution(scores)}"


def _resolution(scores: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> str:
    """How small a difference these prompts would have shown, of the pick that differs most from prompt to prompt."""
    least: dict[str, float] = {}
    for rows in scores.values():
        for name, row in rows.items():
            if row.get("detectable"):
                least[name] = max(least.get(name, 0.0), row["detectable"])
    if not least:
        return ""
    listed = ", ".join(f"{size:.2g} in {name}" for name, size in least.items())
    return f" A difference of {listed} would have been seen, 4 times of 5."


def measurable(row: Mapping[str, Any]) -> bool:
    """Whether a difference counts: Holm's p below 0.05, and 0 outside of its 95 % interval.

    The two can disagree, for a distance of sets above all, where one swaps labels and the other resamples prompts.
    """
    return row["p_holm"] < LEVEL and not row["low"] <= 0 <= row["high"]


def _sides(rows: Mapping[str, Mapping[str, Any]], directions: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(objectives that are better, objectives that are worse), measurably."""
    sure = [name for name, row in rows.items() if measurable(row)]
    better = [name for name in sure if (rows[name]["difference"] > 0) == (directions[name] == "up")]
    return better, [name for name in sure if name not in better]


def _named(number: int, picks: Sequence[Pick]) -> str:
    return f"{' = '.join(pick.name for pick in picks if pick.number == number)} (trial {number})"


def _listed(names: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for name in names:
        row = rows[name]
        parts.append(f"{name} by {row['difference']:+.3g} [{row['low']:.3g}, {row['high']:.3g}]")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
