"""Who goes on to more prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from search.config import load
from search.crew import Alone, Parts
from search.evaluate import Evaluation, Task
from search.plan import prepare
from search.racing import KEPT, crowding, goes_on, ranked, rungs, usual
from search.records import Value
from tests.search.test_study import opened


def test_rungs_are_a_quarter_a_half_and_all_and_never_tiny() -> None:
    assert rungs(48) == (12, 24, 48)
    assert rungs(20) == (10, 20)
    assert rungs(8) == (8,)


def test_ranks_by_hand() -> None:
    # Fronts: {0, 1, 4}, {2}, {3}; of the first, 4 lies between the two ends. 5 is best but out of bounds.
    table = np.array([[0, 9], [9, 0], [4, 4], [1, 1], [5, 5], [20, 20]], float)
    within = [True] * 5 + [False]
    assert ranked(table, within).tolist() == [0, 1, 4, 2, 3, 5]
    assert crowding(table[[0, 1, 4]]).tolist() == [np.inf, np.inf, 2.0]
    assert not goes_on(table, within)
    assert goes_on(table, [True] * 6)
    assert goes_on(table[:1], [True])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
def test_ranks_hold_everyone_once_and_nobody_behind_whom_they_dominate(rows: list[tuple[int, int, bool]]) -> None:
    table, within = np.array([row[:2] for row in rows], float), [row[2] for row in rows]
    order = ranked(table, within).tolist()
    assert sorted(order) == list(range(len(rows)))
    for place, one in enumerate(order):
        for other in order[:place]:
            better = (table[one] >= table[other]).all() and (table[one] > table[other]).any()
            assert not (better and within[one] >= within[other])
    assert goes_on(table, within) == (len(rows) - 1 in order[: max(1, round(KEPT * len(rows)))])


def race(folder: Path, trials: int) -> tuple[list[Task], list]:
    """A study of 48 prompts; a candidate is the better the nearer b1 is to 1.3."""
    tasks: list[Task] = []
    noise = np.random.default_rng(0).normal(size=48)

    def evaluate(task: Task, on_images: object) -> Evaluation:
        tasks.append(task)
        scores = noise[: task.end] - 10 * abs(task.factors.b1 - 1.3)
        table = pd.DataFrame({"prompt": "p", "seed": 0, "clip": scores})
        values = {"clip": Value(float(scores.mean()), 0.1, task.end, "up"), "fid": Value(1.0, 0.1, task.end, "down")}
        return Evaluation(values, task.end, table, seconds={"total": 1.0})

    study = opened(folder, prompts=48, race=True, evaluate=None)
    super(type(study), study).run(Alone(Parts({"search": evaluate})), trials)
    return tasks, study.records()


def test_a_study_races(tmp_path: Path) -> None:
    tasks, records = race(tmp_path, 20)
    assert [record.images for record in records[:2]] == [48, 48]  # no FreeU and the published ones: whole
    assert {record.images for record in records[2:]} >= {12, 48}
    assert all(set(record.rungs) == {n for n in (12, 24, 48) if n <= record.images} for record in records[2:])
    far, near = ([r.images for r in records[2:] if (abs(r.factors.b1 - 1.3) < 0.15) is side] for side in (False, True))
    assert np.mean(near) > np.mean(far)
    # A task goes on where the one before it ended, and carries no FreeU.
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
    raced, whole = (prepare(load(None, {"mlruns": tmp_path, "racing": on})).plan for on in (True, False))
    # Two fixed ones on 48, 62 others, no FreeU under other seeds, six passes of the confirmation; 12 steps, guidance.
    assert raced.evaluations == 24 * (2 * 48 + 62 * 16.5 + 48 + 6 * 48)
    assert whole.evaluations == 24 * (64 * 48 + 48 + 6 * 48)
    assert "12, 24 or 48 prompts of 'shapes'" in raced.lines()[0] and " 48 prompts" in whole.lines()[0]
