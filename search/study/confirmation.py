"""The picks again, on prompts and seeds that the search never saw, against the baseline with the same noise.

The datum is the paired difference: same prompt, same seed, with and without FreeU. Holm's correction covers every
pick times objective that was compared. What was generated is kept, so a killed confirmation goes on where it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from configs import UserError
from freeu import IDENTITY, Factors
from search.evaluation.evaluator import Evaluation, Evaluator, Evaluators, OnImages, Task, by_frame
from search.optimizer.one_thread import one_thread
from search.optimizer.pareto_front import Pick
from search.optimizer.samplers import derived
from search.storage.files import replacing
from search.storage.study_folder import StudyFolder
from search.workers.crew import TRIES, Crew, Evaluate, WorkerDied, done

LEVEL = 0.05
BASE = "baseline"
BASE_KEY = -1  # where the others have their trial's number


@dataclass(frozen=True)
class Sample:
    """What one candidate got on the n held-out prompts, by objective.

    values: the scores. data: (n,) per-image scores, or (n, d) features where the objective scores a set; of videos a
    row for each frame.
    """

    values: dict[str, float]
    data: dict[str, np.ndarray]
    n: int


def candidates(picks: Sequence[Pick], factors: Mapping[int, Factors]) -> dict[int, Factors]:
    """What is to be scored again: each picked candidate once, by trial number, the baseline itself left out."""
    return {pick.number: factors[pick.number] for pick in picks if not factors[pick.number].identity}


def confirm(
    folder: StudyFolder,
    crew: Crew,
    picked: Mapping[int, Factors],
    *,
    n: int,
    seed: int,
    began: Callable[[str, int, int], None],
    categories: Mapping[str, str] | None = None,
    failed: Callable[[int, str], None] = lambda number, reason: None,
) -> dict[int, dict[str, dict[str, Any]]]:
    """Score the picked candidates and the baseline on the n held-out prompts; compare in pairs.

    began: told (what, passes after it, images) before each pass. failed: told (trial number, reason) of a candidate
    whose images or scores are none on these prompts: it is left out, and the others are confirmed. categories: of the
    prompts, kept beside what each got.

    Returns trial number → objective → value, base, difference (value - base), low, high (95 %), p, p_holm, win_rate,
    n; nothing for no picked candidate.
    """
    if not picked:
        return {}
    wanted: dict[int, Factors] = {BASE_KEY: IDENTITY, **picked}
    samples = {
        key: sample for key, factors in wanted.items() if (sample := _read(_file(folder, key), factors, n)) is not None
    }
    waiting = [key for key in wanted if key not in samples]
    busy, deaths = 0, Counter[int]()
    while waiting or busy:
        while waiting and crew.free:
            key = waiting.pop(0)
            began(_said(key), len(waiting), n)
            crew.submit(key, Evaluate(Task(wanted[key], n, purpose="confirm")))
            busy += 1
        for key, found in crew.wait():
            busy -= 1
            deaths[key] += isinstance(found, WorkerDied)
            if isinstance(found, WorkerDied) and deaths[key] < TRIES:
                waiting.append(key)
            elif isinstance(found, Exception):  # as in a trial: it costs this candidate, not the study
                if key == BASE_KEY:
                    raise UserError(f"the baseline could not be scored on the held-out prompts: {found}") from found
                failed(key, " ".join(str(found).split()) or type(found).__name__)
            else:
                samples[key] = _sample(found)
                if found.per_image is not None:
                    kinds = [(categories or {}).get(prompt, "") for prompt in found.per_image["prompt"]]
                    drawn = found.images if found.images is not None and len(found.images) == found.n else None
                    folder.write_held_out(_name(key), found.per_image.assign(category=kinds), drawn)
                _write(_file(folder, key), wanted[key], samples[key])
    base = samples.pop(BASE_KEY)
    return _corrected(done(crew, Compare({key: samples[key] for key in picked if key in samples}, base, seed)))


@dataclass(frozen=True)
class Compare:
    """The job of comparing each sample with the baseline's, where the metrics are."""

    samples: Mapping[int, Sample]
    base: Sample
    seed: int

    @one_thread  # each of those below
    def __call__(self, held: Evaluators, on_images: OnImages) -> dict[int, dict[str, dict[str, Any]]]:
        import torch

        evaluator = held.by_purpose["confirm"]
        each = list(product(self.samples, evaluator.metrics))

        def compared(one: tuple[int, str]) -> dict[str, Any]:
            number, name = one
            seed = derived(self.seed, "confirm", name)
            return _compared(evaluator.metrics[name], self.samples[number], self.base, name, evaluator, seed)

        found: dict[int, dict[str, dict[str, Any]]] = {number: {} for number in self.samples}
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # NumPy leaves Python to others while it works
            for (number, name), row in zip(each, pool.map(compared, each), strict=True):
                found[number][name] = row
        return found


def _compared(metric: Any, sample: Sample, base: Sample, name: str, evaluator: Evaluator, seed: int) -> dict[str, Any]:
    from metrics import stats

    a, b, rng = sample.data[name], base.data[name], np.random.default_rng(seed)
    if metric.per_image:
        pair = stats.paired(a, b, evaluator.prompts, rng)
    else:
        clusters, distances = by_frame(evaluator.prompts, evaluator.frames), getattr(metric, "distances", None)
        pair = stats.paired_set(a, b, metric.distance, clusters, rng, distances)
    smallest = stats.detectable(pair.error, pair.clusters)
    wins = float(pair.win_rate)  # the share of pairs where a > b
    return {
        "value": sample.values[name],
        "base": base.values[name],
        "difference": float(pair.mean),
        "low": float(pair.low),
        "high": float(pair.high),
        "p": float(pair.p),
        "detectable": smallest if np.isfinite(smallest) else None,
        "win_rate": (wins if metric.direction == "up" else 1 - wins) if np.isfinite(wins) else None,
        "n": len(evaluator.prompts),
    }


def _corrected(found: dict[int, dict[str, dict[str, Any]]]) -> dict[int, dict[str, dict[str, Any]]]:
    from metrics import stats

    rows = [row for scores in found.values() for row in scores.values()]
    for row, p in zip(rows, stats.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = float(p)
    return found


def _sample(found: Evaluation) -> Sample:
    assert found.per_image is not None
    values = {name: value.value for name, value in found.values.items()}
    columns = {name: found.per_image[name].to_numpy() for name in values if name in found.per_image}
    return Sample(values, {**columns, **found.features}, found.n)


def _said(key: int) -> str:
    return BASE if key == BASE_KEY else f"trial {key}"


def _name(key: int) -> str:
    return BASE if key == BASE_KEY else f"{key:04d}"


def _file(folder: StudyFolder, key: int) -> Path:
    return folder.confirm_file(_name(key))


def _write(file: Path, factors: Factors, sample: Sample) -> None:
    arrays: dict[str, Any] = {f"value:{name}": np.float64(value) for name, value in sample.values.items()}
    arrays |= {f"data:{name}": array for name, array in sample.data.items()}
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, n=sample.n, factors=_text(factors), **arrays)


def _text(factors: Factors) -> str:
    return json.dumps(factors.as_dict(), sort_keys=True)


def _read(file: Path, factors: Factors, n: int) -> Sample | None:
    """What was kept; None where there is nothing, or it is of other factors or another number of prompts: a number goes
    to another candidate where a study lost its database.
    """
    if not file.exists():
        return None
    try:
        with np.load(file) as kept:
            names = [name.partition(":")[2] for name in kept if name.startswith("value:")]
            values = {name: float(kept[f"value:{name}"]) for name in names}
            sample = Sample(values, {name: kept[f"data:{name}"] for name in names}, int(kept["n"]))
            same = sample.n == n and str(kept.get("factors")) == _text(factors)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{file} can't be read ({error}): remove it to have it made again") from error
    return sample if same else None


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
        return "FreeU is not shown to help here: no candidate was better than the baseline, so none was confirmed."
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
    return (
        f"FreeU is not shown to help here: {tried} measurably better than the baseline {on}.{also}{_resolution(scores)}"
    )


def _resolution(scores: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> str:
    """How small a difference these prompts would have shown, of the pick that differs most from prompt to prompt."""
    least: dict[str, float] = {}
    for rows in scores.values():
        for name, row in rows.items():
            if row.get("detectable"):
                least[name] = max(least.get(name, 0.0), row["detectable"])
    if not least:
        return ""
    listed = " or ".join(f"{size:.2g} in {name}" for name, size in least.items())
    return f" These prompts show a difference of {listed} in 4 of 5 studies, smaller ones seldom."


COUNTS = "* counts: 0 lies outside of the interval, and p, corrected for all comparisons (Holm), is below 0.05"


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
