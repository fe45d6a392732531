"""When a search has had enough."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from freeu import IDENTITY, Factors
from search.settings.job import prepare
from search.settings.reading import load
from search.storage import TrialRecord, Value
from search.study.budget import Budget
from search.study.plan import plan
from tests.search.fakes import settings

DIRECTIONS = {"clip": "up", "aesthetic": "up"}


def trial(number: int, clip: float = 1.0, images: int = 12, seconds: float = 6.0) -> TrialRecord:
    factors = IDENTITY if number == 0 else Factors(1 + number / 100, 1.2, 0.9, 0.8)
    values = {"clip": Value(clip, 0.1, images, "up"), "aesthetic": Value(-clip, 0.1, images, "up")}
    return TrialRecord(number, factors, "gp", "COMPLETE", values, {"total": seconds}, images)


def budget(folder: Path, began: float | None = None, **more: Any) -> tuple[Budget, list[str]]:
    off = {"baseline_guidance": "off"}  # no rivals: the confirmation has as many passes as finalists, and the baseline
    planned = plan(
        prepare(
            settings(
                folder, limit=12, held_out=12, finalists=4, objectives="clip,aesthetic", guardrails=False, **off, **more
            )
        )
    )
    assert (planned.passes, planned.held_out) == (5, 12)  # 60 images for the confirmation
    said: list[str] = []
    return Budget(planned, began or time.monotonic(), said.append), said


def began(found: Budget, most: int = 40) -> int:
    """How many trials a search with this budget begins."""
    records: list[TrialRecord] = []
    while len(records) < most and found(records, 0):
        records.append(trial(len(records)))
    return len(records)


def test_images_hold_those_of_the_confirmation(tmp_path: Path) -> None:
    found, said = budget(tmp_path, images=12 * 10 + 60)
    assert began(found) == 10
    assert said == ["the search ends: 180 images, 60 for the confirmation included, are used up"]


def test_device_hours_hold_the_confirmation(tmp_path: Path) -> None:
    found, said = budget(tmp_path, gpu_hours=0.5 * (12 * 10 + 60) / 3600 + 1e-6)  # half a second an image
    assert began(found) == 10
    assert "device hours" in said[0]


def test_minutes_hold_the_confirmation_and_workers_share_it(tmp_path: Path) -> None:
    # A trial of 6 s, and the confirmation's five passes of 6 s each: two workers take three turns, eight one.
    for workers, takes in ((1, 6 + 30), (2, 6 + 18), (8, 6 + 6)):
        for left, goes_on in ((takes - 1, False), (takes + 1, True)):
            found, _ = budget(tmp_path / f"{workers}-{left}", time.monotonic() - 60 + left, minutes=1, workers=workers)
            assert found([trial(0), trial(1)], 0) is goes_on


def test_what_runs_counts_and_may_turn_out_cheaper(tmp_path: Path) -> None:
    found, said = budget(tmp_path, images=12 * 6 + 60)
    done = [trial(number) for number in range(2)]
    assert [found(done, running) for running in range(6)] == [True] * 4 + [False] * 2
    assert not said and found([*done, *(trial(number, images=3) for number in range(2, 6))], 0)
    assert not found([trial(number) for number in range(6)], 0) and len(said) == 1
    assert not found([], 0)  # for good


def test_the_confirmation_takes_what_the_search_took_where_budgets_leave_it(tmp_path: Path) -> None:
    done = [trial(number) for number in range(10)]  # 120 images, half a second each
    assert budget(tmp_path)[0].left(done, 120) == 120
    assert budget(tmp_path, images=200)[0].left(done, 120) == 80
    assert budget(tmp_path, gpu_hours=100 / 3600)[0].left(done, 120) == 80
    assert budget(tmp_path, time.monotonic() - 3600, minutes=30)[0].left(done, 120) == 0
    assert budget(tmp_path, minutes=60, workers=2)[0].left(done, 120) == 120


def test_what_is_set_aside_grows_with_the_search_to_all_held_out_prompts(tmp_path: Path) -> None:
    config = settings(tmp_path, objectives="clip,aesthetic", finalists=1, baseline_guidance="off")
    many = replace(prepare(config), held_out=tuple(map(str, range(200))))
    assert [plan(many).once(images) for images in (0, 96, 150, 300, 4000)] == [48, 48, 75, 150, 200]
    given = replace(many, config=config.model_copy(update={"held_out": 200}))
    assert plan(given).once(0) == 200


def test_no_freeu_with_few_steps_counts(tmp_path: Path) -> None:
    more = {"model": "shapes", "limit": 16, "objectives": "clip", "guardrails": False, "images": 200, "held_out": 16}
    for low_steps, trials in ((None, 10), (2, 8)):  # 16 images fewer are left of the 120 beside the confirmation
        job = prepare(load(None, {**more, "mlruns": tmp_path, "low_steps": low_steps}))
        reserve = plan(job).passes * plan(job).held_out
        enough = replace(job, config=job.config.model_copy(update={"images": 120 + reserve}))  # a trial takes 12 here
        assert began(Budget(plan(enough), time.monotonic(), lambda text: None)) == trials


def test_two_trials_are_the_least(tmp_path: Path) -> None:
    found, _ = budget(tmp_path, images=1)
    assert began(found) == 2


def test_patience_ends_where_the_front_stands_still(tmp_path: Path) -> None:
    def values(number: int, grows: bool) -> dict[str, Value]:
        better = number / 10 if grows or number < 10 else 0.0
        return {name: Value(better, 0.1, 12, "up", 0.01) for name in DIRECTIONS}

    ended = {}
    for grows in (True, False):
        found, said = budget(tmp_path / str(grows), patience=6, trials=30)
        records: list[TrialRecord] = []
        while len(records) < 24 and found(records, len(records) % 3):  # whether others run or not
            records.append(replace(trial(len(records)), values=values(len(records), grows)))
        ended[grows] = len(records)
        assert bool(said) is not grows
    assert ended[True] == 24
    assert 10 <= ended[False] <= 18


def test_nothing_is_said_of_no_budget(tmp_path: Path) -> None:
    found, said = budget(tmp_path)
    assert began(found) == 40 and not said
