"""The picks again, on prompts and seeds that the search never saw, against the baseline with the same noise.

The datum is the paired difference: same prompt, same seed, with and without FreeU. Holm's correction covers every
pick times objective that was compared. What was generated is kept, so a killed confirmation goes on where it was.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from configs import UserError
from freeu import IDENTITY, Candidate
from search.evaluation.evaluator import Evaluation, Evaluator, Evaluators, OnImages, Task, by_frame
from search.optimizer.one_thread import one_thread
from search.optimizer.pareto_front import Front, Pick
from search.optimizer.samplers import derived
from search.storage.files import replacing
from search.storage.study_folder import StudyFolder
from search.storage.trial_record import TrialRecord
from search.study.verdict import LEVEL
from search.workers.crew import TRIES, Crew, Evaluate, WorkerDied, done

NEEDED = 2.6
"""Standard errors that a difference takes to count, about: Holm's correction over six comparisons."""
FLIPS = 2**15 - 1
"""Of signs: the smallest p is 6e-5, so a hundred comparisons and more leave room for one to count."""
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


def finalists(
    picks: Sequence[Pick],
    records: Sequence[TrialRecord],
    front: Front,
    directions: Mapping[str, str],
    most: int,
    n: int,
) -> dict[int, Candidate]:
    """The picks to be scored again, `most` at most, by trial number; the baseline itself left out.

    Chosen on the search's data alone: those come first that are most likely to be shown better than the baseline in one
    objective and worse in none on n held-out prompts, by what the model expects and the spread of paired differences.
    """
    from scipy.stats import norm

    by_number = {record.number: record for record in records}
    base = next(record.number for record in records if record.candidate.baseline)
    numbers = dict.fromkeys(pick.number for pick in picks if not by_number[pick.number].candidate.off)

    def chance(number: int) -> float:
        """The logarithm of it."""
        record, better, unharmed = by_number[number], [], 0.0
        for name, direction in directions.items():
            gain = front.expected[name][number] - front.expected[name][base]
            error = record.values[name].paired * math.sqrt(record.images / n)
            z = (gain if direction == "up" else -gain) / error if error > 0 else 0.0
            better.append(float(norm.logcdf(z - NEEDED)))
            unharmed += float(norm.logcdf(z + NEEDED))
        return max(better) + unharmed

    ranked = sorted(numbers, key=lambda number: -chance(number))
    return {number: by_number[number].candidate for number in ranked[:most]}


def confirm(
    folder: StudyFolder,
    crew: Crew,
    picked: Mapping[int, Candidate],
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
    wanted: dict[int, Candidate] = {BASE_KEY: Candidate(IDENTITY), **picked}
    samples = {
        key: sample for key, each in wanted.items() if (sample := _read(_file(folder, key), each, n)) is not None
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
            return _compared(evaluator.metrics[name], self.samples[number], self.base, name, evaluator, seed, len(each))

        found: dict[int, dict[str, dict[str, Any]]] = {number: {} for number in self.samples}
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # NumPy leaves Python to others while it works
            for (number, name), row in zip(each, pool.map(compared, each), strict=True):
                found[number][name] = row
        return found


def _compared(
    metric: Any, sample: Sample, base: Sample, name: str, evaluator: Evaluator, seed: int, rows: int
) -> dict[str, Any]:
    """rows: how many comparisons there are in all."""
    from metrics import stats

    a, b, rng = sample.data[name], base.data[name], np.random.default_rng(seed)
    if metric.per_image:
        pair = stats.paired(a, b, evaluator.prompts, rng, FLIPS)
    else:
        clusters, distances = by_frame(evaluator.prompts, evaluator.frames), getattr(metric, "distances", None)
        pair = stats.paired_set(a, b, metric.distance, clusters, rng, distances, FLIPS)
    smallest = stats.detectable(pair.error, pair.clusters, LEVEL / rows)  # as the first that Holm lets through
    wins = float(pair.win_rate)  # the share of pairs where a > b
    return {
        "value": sample.values[name],
        "base": base.values[name],
        "difference": float(pair.mean),
        "low": float(pair.low) if np.isfinite(pair.low) else None,
        "high": float(pair.high) if np.isfinite(pair.high) else None,
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


def _write(file: Path, candidate: Candidate, sample: Sample) -> None:
    arrays: dict[str, Any] = {f"value:{name}": np.float64(value) for name, value in sample.values.items()}
    arrays |= {f"data:{name}": array for name, array in sample.data.items()}
    with replacing(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, n=sample.n, factors=_text(candidate), **arrays)


def _text(candidate: Candidate) -> str:
    return json.dumps(candidate.as_dict(), sort_keys=True)


def _read(file: Path, candidate: Candidate, n: int) -> Sample | None:
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
            same = sample.n == n and str(kept.get("factors")) == _text(candidate)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{file} can't be read ({error}): remove it to have it made again") from error
    return sample if same else None
