"""Who goes on to more prompts."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from search.evaluation import Evaluation, Evaluators, Task
from search.settings.job import prepare
from search.settings.reading import load
from search.storage import Value
from search.study.plan import plan
from search.study.racing import KEPT, Rung, crowding, rungs, usual
from search.workers import SingleWorker
from tests.search.study.test_coordinator import opened


def test_rungs_are_a_quarter_a_half_and_all_and_never_tiny() -> None:
    assert rungs(48) == (12, 24, 48)
    assert rungs(20) == (10, 20)
    assert rungs(8) == (8,)


Scores = dict[str, float]
WAYS = {"clip": "up", "fid": "down"}


def ranked(reached: dict[int, Scores]) -> list[int]:
    """The trials from best to worst, as the rule says it: feasible ones, fronts, crowding distance, the earlier."""

    def beats(one: int, other: int) -> bool:
        a, b = ((reached[k]["clip"], -reached[k]["fid"]) for k in (one, other))
        return a[0] >= b[0] and a[1] >= b[1] and a != b

    order: list[int] = []
    for within in (True, False):
        left = [k for k in sorted(reached) if (reached[k]["violation"] <= 0) is within]
        while left:
            front = [k for k in left if not any(beats(other, k) for other in left)]
            crowds = crowding(np.array([[reached[k]["clip"], -reached[k]["fid"]] for k in front]))
            order += [k for _, k in sorted(zip(-crowds, front, strict=True))]
            left = [k for k in left if k not in front]
    return order


def scores(clip: float, fid: float, within: bool = True) -> Scores:
    return {"clip": clip, "fid": fid, "violation": -1.0 if within else 0.5}


def test_ranks_by_hand() -> None:
    # Fronts: {0, 1, 4}, {2}, {3}; of the first, 4 lies between the two ends. 5 is best but out of bounds.
    reached = {k: scores(*each) for k, each in enumerate([(0, -9), (9, 0), (4, -4), (1, -1), (5, -5)])}
    reached[5] = scores(20, -20, within=False)
    assert ranked(reached) == [0, 1, 4, 2, 3, 5]
    assert crowding(np.array([[0, 9], [9, 0], [5, 5]], float)).tolist() == [np.inf, np.inf, 2.0]
    rung = Rung(WAYS)
    rung.hold({7: scores(1, 1)})
    assert rung.goes_on(7)  # the first of all
    rung = Rung(WAYS)
    rung.hold(reached)
    assert [k for k in reached if rung.goes_on(k)] == [0, 1]  # a quarter of six, rounded: two
    within = Rung(WAYS)
    within.hold(reached | {5: scores(20, -20)})
    assert [k for k in reached if within.goes_on(k)] == [0, 5]


whole = st.integers(0, 9)


@given(st.lists(st.tuples(whole, whole, st.booleans()), min_size=1, max_size=40), st.randoms(), st.integers(1, 3))
def test_fronts_kept_are_fronts_made_anew(rows: list[tuple[int, int, bool]], luck: Random, at_once: int) -> None:
    """In whatever order they come, a few at once, and where some are given back meanwhile."""
    coming = list(enumerate(scores(*row) for row in rows))
    luck.shuffle(coming)
    rung, reached = Rung(WAYS), dict[int, Scores]()
    while coming:
        reached |= dict(coming[:at_once])
        del coming[:at_once]
        if luck.random() < 0.1:
            del reached[luck.choice(list(reached))]
        rung.hold(reached)
        best = ranked(reached)[: max(1, round(KEPT * len(reached)))]
        assert [k for k in sorted(reached) if rung.goes_on(k)] == sorted(best)


def race(folder: Path, trials: int) -> tuple[list[Task], list]:
    """A study of 48 prompts; a candidate is the better the nearer b1 is to 1.3."""
    tasks: list[Task] = []
    noise = np.random.default_rng(0).normal(size=48)

    def evaluate(task: Task, on_images: object) -> Evaluation:
        tasks.append(task)
        scores = noise[: task.end] - 10 * abs(task.candidate.factors.b1 - 1.3)
        table = pd.DataFrame({"prompt": "p", "seed": 0, "clip": scores})
        values = {"clip": Value(float(scores.mean()), 0.1, task.end, "up"), "fid": Value(1.0, 0.1, task.end, "down")}
        return Evaluation(values, task.end, table, seconds={"total": 1.0})

    study = opened(folder, prompts=48, race=True, evaluate=None)
    super(type(study), study).run(SingleWorker(Evaluators({"search": evaluate})), trials)
    return tasks, study.records()


def test_a_study_races(tmp_path: Path) -> None:
    tasks, records = race(tmp_path, 20)
    assert [record.images for record in records[:2]] == [48, 48]  # the baseline and the published ones: whole
    assert {record.images for record in records[2:]} >= {12, 48}
    assert all(set(record.rungs) == {n for n in (12, 24, 48) if n <= record.images} for record in records[2:])
    far, near = ([r.images for r in records[2:] if (abs(r.factors.b1 - 1.3) < 0.15) is side] for side in (False, True))
    assert np.mean(near) > np.mean(far)
    # A task goes on where the one before it ended, and carries the baseline.
    later = [task for task in tasks if task.before is not None]
    assert later and all(task.before.n < task.end and task.base.n == 48 for task in later)
    again, _ = race(tmp_path, 20)
    assert again == []


def test_without_racing_all_are_whole(tmp_path: Path) -> None:
    study = opened(tmp_path, prompts=48)
    assert study.rungs == (48,)


def test_a_plan_counts_on_racing(tmp_path: Path) -> None:
    # A quarter for all, then a quarter of them to half, then a quarter of those to all.
    assert usual(48) == 12 + 12 / 4 + 24 / 16
    assert usual(8) == 8
    raced, whole = (plan(prepare(load(None, {"mlruns": tmp_path, "racing": on}))) for on in (True, False))
    # Two fixed ones on 48, 62 others, the baseline under other seeds; in the confirmation two finalists, their
    # rivals and the baseline, as many images as the search takes, four of each prompt at most; 12 steps, guided.
    search = 2 * 48 + 62 * 16.5
    assert raced.evaluations == 24 * (search + 48 + search // 5 * 5)
    assert whole.evaluations == 24 * (64 * 48 + 48 + 5 * 4 * raced.held_out)
    assert raced.held_out > 100
    assert "12, 24 or 48 prompts of 'shapes'" in raced.lines()[0] and " 48 prompts" in whole.lines()[0]
