"""The finalists again, on prompts and seeds that the search never saw, each in pairs with the baseline.

The datum is the paired difference: same prompt, same seed, with and without FreeU. Images are drawn look by look
(search/study/looks.py) until each comparison is decided, or can hardly come to be within the plan. A row is a finalist
against a comparator in one objective; Holm's correction covers all rows. The judges' rows are a family of their own,
with an error of its own (docs/decisions/010-judges.md): what nobody searched on costs the objectives nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Any

import numpy as np

from freeu import IDENTITY, Candidate
from search.evaluation import Evaluator, Evaluators, OnImages
from search.evaluation.evaluator import by_frame
from search.optimizer.one_thread import one_thread
from search.optimizer.pareto_front import NEEDED, Front, Pick
from search.optimizer.samplers import derived
from search.storage import TrialRecord
from search.study.held_out import BASE_KEY, HeldOut, Sample
from search.study.looks import LEVEL, Looks
from search.study.verdict import measurable
from search.workers import done

FLIPS = 2**15 - 1
"""Of signs: the smallest p is 6e-5, so a hundred comparisons and more leave room for one to count."""
HOPE = 0.1
"""Chance to be decided by the last look, below which a comparison is waited for no longer."""

Row = dict[str, Any]
Rows = dict[tuple[int, int], dict[str, Row]]
"""(finalist, comparator) → objective → what was found."""


@dataclass(frozen=True)
class Confirmed:
    """What a confirmation found.

    rows: against the baseline: trial number → objective → value, base, difference (value - base), low, high (95 %), p,
    p_holm (corrected for looks, comparisons and further confirmations), detectable, win_rate, n (images), prompts;
    nothing for no finalist.
    against: the same, against each one's rival, where it has one.
    judged, judged_against: the same of the judges, in place of the objectives.
    looks: of each look, in order, the images of each candidate, and p_holm by trial number and objective, as JSON.
    """

    rows: dict[int, dict[str, Row]] = field(default_factory=dict)
    against: dict[int, dict[str, Row]] = field(default_factory=dict)
    judged: dict[int, dict[str, Row]] = field(default_factory=dict)
    judged_against: dict[int, dict[str, Row]] = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)


def finalists(
    picks: Sequence[Pick],
    records: Sequence[TrialRecord],
    front: Front,
    directions: Mapping[str, str],
    most: int,
    n: int,
) -> dict[int, Candidate]:
    """The picks to be scored again, `most` at most, by trial number; the baseline itself left out.

    Chosen on the search's data alone: those come first that are most likely to be shown better than their rival, or the
    baseline where they have none, in one objective and worse in none on n held-out prompts, by what the model expects
    and the spread of paired differences.
    """
    from scipy.stats import norm

    by_number = {record.number: record for record in records}
    base = next(record.number for record in records if record.candidate.baseline)
    numbers = dict.fromkeys(pick.number for pick in picks if not by_number[pick.number].candidate.off)

    def chance(number: int) -> float:
        """The logarithm of it."""
        record, better, unharmed = by_number[number], [], 0.0
        for name, direction in directions.items():
            gain = front.expected[name][number] - front.expected[name][front.rivals.get(number, base)]
            error = record.values[name].paired * math.sqrt(record.images / n)
            z = (gain if direction == "up" else -gain) / error if error > 0 else 0.0
            better.append(float(norm.logcdf(z - NEEDED)))
            unharmed += float(norm.logcdf(z + NEEDED))
        return max(better) + unharmed

    ranked = sorted(numbers, key=lambda number: -chance(number))
    return {number: by_number[number].candidate for number in ranked[:most]}


def rivals_of(
    finalists: Collection[int], front: Front, records: Sequence[TrialRecord]
) -> dict[int, tuple[int, Candidate]]:
    """Each finalist's tuned baseline, with its trial's number; none where that is the baseline itself."""
    by_number = {record.number: record.candidate for record in records}
    named = {number: front.rivals[number] for number in finalists if number in front.rivals}
    return {number: (rival, by_number[rival]) for number, rival in named.items() if not by_number[rival].baseline}


def confirm(
    held_out: HeldOut,
    finalists: Mapping[int, Candidate],
    objectives: Sequence[str],
    plan: Looks,
    seed: int,
    rivals: Mapping[int, tuple[int, Candidate]] | None = None,
    judges: Sequence[str] = (),
    at_once: bool = False,
) -> Confirmed:
    """Compare the finalists with the baseline, and with their rivals, look by look. held_out: of the plan's rows.

    A rival is drawn once its finalist measurably differs from the baseline: until then it can change no verdict. Its
    comparisons belong to the family all the same, as such that show nothing. The judges of a pair are waited for where
    an objective of it counts. at_once: draw all rivals from the first look on, as for a person who is to see them.
    """
    rivals, lost = rivals or {}, set[int]()
    opened = {*rivals} if at_once else set[int]()
    tried: dict[int, Candidate] = {BASE_KEY: Candidate(IDENTITY), **finalists, **dict(rivals.values())}
    most = len(finalists) + len(rivals)
    found, judged, looks = Rows(), Rows(), []

    def compared(look: int) -> tuple[Rows, Rows]:
        pairs = [(number, BASE_KEY) for number in finalists] + [(number, rivals[number][0]) for number in opened]
        keys = dict.fromkeys((BASE_KEY, *chain.from_iterable(pairs)))
        drawn = {key: tried[key] for key in keys if key not in lost}
        samples = held_out.samples(drawn, plan.ends[look])
        lost.update(drawn.keys() - samples.keys())
        kept = tuple(pair for pair in pairs if not lost & {*pair})
        here = {key: sample for key, sample in samples.items() if key in chain.from_iterable(kept)}
        prompts = held_out.rows.prompts[: plan.ends[look]]
        job = Compare(here, kept, tuple(objectives), prompts, plan, look, seed, most, tuple(judges))
        return done(held_out.crew, job) if kept else (Rows(), Rows())

    def differing() -> set[int]:
        return {number for (number, _), rows in found.items() if any(map(measurable, rows.values()))}

    for look, end in enumerate(plan.ends if finalists else ()):
        found, judged = compared(look)
        while more := (differing() & rivals.keys()) - opened:
            opened |= more
            found, judged = compared(look)
        if not found:
            break
        shown = {
            str(number): {name: row["p_holm"] for name, row in rows.items()}
            for (number, other), rows in found.items()
            if other == BASE_KEY
        }
        looks.append({"images": end, "p_holm": shown})
        counts = [pair for pair, rows in found.items() if any(map(measurable, rows.values()))]
        waiting = [(found.values(), objectives), ([judged[pair] for pair in counts], judges)]
        if all(
            decided([row for rows in each for row in rows.values()], plan, look, most * len(names))
            for each, names in waiting
        ):
            break

    def parts(rows: Rows, base: bool) -> dict[int, dict[str, Row]]:
        return {number: each for (number, other), each in rows.items() if (other == BASE_KEY) is base}

    return Confirmed(parts(found, True), parts(found, False), parts(judged, True), parts(judged, False), looks)


def decided(rows: Sequence[Row], plan: Looks, look: int, family: int = 0) -> bool:
    """Whether every row counts by now, or can hardly come to count by the plan's last look. family: how many rows there
    are in all, if more than these.
    """
    from metrics import sequential

    if look == len(plan.ends) - 1:
        return True
    waiting = [row for row in rows if not measurable(row)]
    level, time = plan.level / max(1, len(waiting) + max(0, family - len(rows))), plan.times[look]
    return all(sequential.attainable(row["p"], time, level, plan.times) < HOPE for row in waiting)


@dataclass(frozen=True)
class Compare:
    """The job of comparing samples in pairs, where the metrics are: the objectives' rows, and the judges'.

    prompts: of the samples' rows. most: how many pairs Holm's correction is for.
    """

    samples: Mapping[int, Sample]
    pairs: tuple[tuple[int, int], ...]
    objectives: tuple[str, ...]
    prompts: tuple[str, ...]
    plan: Looks
    look: int
    seed: int
    most: int
    judges: tuple[str, ...] = ()

    @one_thread  # each of those below
    def __call__(self, held: Evaluators, on_images: OnImages) -> tuple[Rows, Rows]:
        evaluator = held.by_purpose["confirm"]
        judges = tuple(name for name in self.judges if name in evaluator.metrics)  # whoever loads may leave some out
        objectives, judged = (self._family(evaluator, names) for names in (self.objectives, judges))
        return objectives, judged

    def _family(self, evaluator: Evaluator, names: Sequence[str]) -> Rows:
        """The comparisons that share one error."""
        import torch

        each, family = list(product(self.pairs, names)), self.most * len(names)

        def compared(one: tuple[tuple[int, int], str]) -> Row:
            (number, other), name = one
            return self._compared(evaluator, self.samples[number], self.samples[other], name, family)

        found: Rows = {pair: {} for pair in self.pairs}
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # NumPy leaves Python to others while it works
            for (pair, name), row in zip(each, pool.map(compared, each), strict=True):
                found[pair][name] = row
        return _corrected(found, self.plan, family)

    def _compared(self, evaluator: Evaluator, sample: Sample, base: Sample, name: str, rows: int) -> Row:
        """rows: how many comparisons there are in all."""
        from metrics import sequential, stats

        metric: Any = evaluator.metrics[name]
        rng, times = np.random.default_rng(derived(self.seed, "confirm", name)), self.plan.times
        if metric.per_image:
            a, b = sample.scores[name], base.scores[name]
            pair = stats.paired(a, b, self.prompts, rng, FLIPS)
            value, zero = float(a.mean()), float(b.mean())
        else:
            frames = evaluator.frames
            a, b = (each.features[name].reshape(len(self.prompts) * frames, -1) for each in (sample, base))
            clusters, distances = by_frame(self.prompts, frames), getattr(metric, "distances", None)
            pair = stats.paired_set(a, b, metric.distance, clusters, rng, distances, FLIPS)
            value, zero = float(metric.distance(a)), float(metric.distance(b))
        level = sequential.bounds(self.plan.level / rows, times)[self.look]  # as the first that Holm lets through
        smallest = stats.detectable(pair.error, pair.clusters, level)
        wins = float(pair.win_rate)  # the share of pairs where a > b
        return {
            "value": value,
            "base": zero,
            "difference": float(pair.mean),
            "low": float(pair.low) if np.isfinite(pair.low) else None,
            "high": float(pair.high) if np.isfinite(pair.high) else None,
            "p": float(pair.p),
            "p_holm": sequential.adjusted(pair.p, self.look, times),
            "detectable": smallest if np.isfinite(smallest) else None,
            "win_rate": (wins if metric.direction == "up" else 1 - wins) if np.isfinite(wins) else None,
            "n": len(self.prompts),
            "prompts": len(set(self.prompts)),
        }


def _corrected(found: Rows, plan: Looks, family: int) -> Rows:
    """With Holm's correction for so many rows, and the share of the error that this confirmation has."""
    from metrics import stats

    rows = [row for scores in found.values() for row in scores.values()]
    ps = [row["p_holm"] for row in rows] + [1.0] * (family - len(rows))
    for row, p in zip(rows, stats.holm(ps), strict=False):
        row["p_holm"] = min(1.0, float(p) * LEVEL / plan.level)
    return found
