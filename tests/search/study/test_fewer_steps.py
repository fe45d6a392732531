"""Few steps on a first rung: used where they rank as all steps do, and not elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs import UserError
from freeu import IDENTITY, Candidate, Factors, Sampling
from freeu.models import load_generator
from search.evaluation import Evaluation, Evaluators, Task
from search.evaluation.evaluator import LOW
from search.evaluation.extrapolation import mean
from search.evaluation.loading import assemble
from search.settings import drafts
from search.settings.job import Job, prepare
from search.settings.reading import load
from search.storage import TrialRecord, Value
from search.storage.image_grid import SIDE
from search.study.fewer_steps import ENOUGH, PAIRS, Draft, Fidelity, Line, line, lower_end, made
from search.study.pieces import Piece
from search.study.plan import plan
from search.workers import SingleWorker
from tests import tiny
from tests.search.fakes import FakeMetric
from tests.search.study.test_coordinator import Silent, opened

PROMPTS = 48


def test_a_line_by_hand() -> None:
    # Ranks 1 2 3 4 5 against 1 2 3 5 4: 1 - 6 · 2 / (5 · 24) = 0.9. The fit of 2x + 1 with the last two swapped.
    low, full = np.array([0, 1, 2, 3, 4.0]), np.array([1, 3, 5, 9, 7.0])
    found = line(low, full)
    assert found.correlation == pytest.approx(0.9)
    assert (found.slope, found.shift) == pytest.approx((1.8, 1.4))
    assert found.off == pytest.approx(math.sqrt(((full - 1.8 * low - 1.4) ** 2).sum() / 3))
    assert line(low, np.full(5, 2.0)) == Line(0.0, 0.0, 2.0, 0.0)


def test_the_lower_end_by_hand() -> None:
    # atanh 0.9 = 1.47222; (1 + 0.405) / 9 = 0.15611, its root 0.39511; tanh(1.47222 - 0.77442) = tanh 0.69780
    assert lower_end(0.9, 12) == pytest.approx(0.6029, abs=1e-4)
    assert lower_end(1.0, 12) == 1 and lower_end(0.99, 3) == -1
    assert lower_end(0.95, 12) < ENOUGH < lower_end(0.96, 12)


def test_few_steps_are_given_up_where_they_cost_more_than_they_save() -> None:
    def record(number: int, *rungs: int) -> TrialRecord:
        factors = IDENTITY if number == 0 else Factors(1 + number / 100, 1, 1, 1)
        return TrialRecord(
            number, factors, "gp", "COMPLETE", images=48, rungs={n: {} for n in rungs}, unet_evaluations=48
        )

    base = record(0, 48)
    ended, went_on = (
        [record(number + shift, -12, *more) for number in range(1, 13)] for shift, more in ((0, ()), (20, (24,)))
    )
    for share, some, pays in (
        (0.5, ended, True),
        (0.5, went_on, False),
        (0.5, ended + went_on, False),
        (0.4, ended + went_on, True),
    ):
        fidelity = Fidelity(Draft(Evaluation({}, 48, unet_evaluations=round(48 * share))), 12, ["clip"])
        fidelity.lines = {"clip": Line(1.0, 1.0, 0.0, 0.0, 1.0)}
        assert fidelity.weigh([base, *some]) is not pays and fidelity.usable is pays
        assert pays or "no longer pay" in fidelity.said()


def test_auto_is_half_of_the_steps_where_that_can_be(tmp_path: Path) -> None:
    def steps(**flags: Any) -> int | None:
        low = prepare(load(None, {"mlruns": tmp_path, "low_steps": "auto", **flags})).low
        return None if low is None else low.steps

    assert steps() == 6 and steps(steps=30) == 15
    assert steps(racing=False) is None and steps(limit=8) is None and steps(steps=4) is None
    assert prepare(load(None, {"mlruns": tmp_path})).low is None


def test_smaller_images_of_large_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the side of a model that makes more than 512 pixels; of a tiny one where that is made less."""

    def job(**flags: Any) -> Job:
        return prepare(load(None, {"mlruns": tmp_path, "model": str(folder), "objectives": "clip", **flags}))

    folder = tiny.sdxl(tmp_path / "pipeline")
    whole = job().spec.image_size
    assert job(low_size="auto").low is None
    with pytest.raises(UserError, match=f"have {whole[0]} pixels of a side, and only larger ones than 512"):
        plan(job(low_size=8))
    monkeypatch.setattr(drafts, "LARGE", 8)
    assert job(low_size="auto", racing=False).low is None and job(low_size="auto", size=["24x40", "16x16"]).low is None
    assert job(low_size="auto", low_steps=2, size="32x48").low == Sampling(steps=2, size=(16, 24))
    assert drafts.pixels(job(low_size="auto", size="32x48")) == 0.25
    with pytest.raises(UserError, match=rf"--low-size {whole[0]}: give less than the {whole[0]} pixels"):
        plan(job(low_size=whole[0]))
    lines = plan(job(low_size="auto", low_steps=2, steps=4)).lines()
    half = f"{whole[1] // 2}x{whole[0] // 2}"
    said = f"2 steps at {half} pixels, if they rank the first candidates as 4 at {whole[1]}x{whole[0]} do"
    assert any(said in each for each in lines)

    def parts(config: Any, spec: Any) -> Any:
        return load_generator(spec, device="cpu"), {"clip": FakeMetric("clip", 0)}

    asked = job(low_size="auto", steps=1, guardrails=False, limit=16, held_out=2, keep_images="all", cache=False)
    held = assemble(parts, asked)
    for purpose, side in (("search", whole[0]), (LOW, whole[0] // 2)):
        found = Piece(Candidate(Factors(1.2, 1.4, 0.9, 0.2)), 0, 2, purpose)(held, lambda done: None)
        assert found.images is not None and found.images[0].shape[-1] == min(side, SIDE)
    draft = Draft(Evaluation({}, 48, unet_evaluations=48), drafts.pixels(asked), *drafts.named(asked.low))
    fidelity = Fidelity(draft, 12, ["clip"])
    fidelity.lines = {"clip": Line(1.0, 1.0, 0.0, 0.0, 1.0)}
    assert fidelity.said().startswith("rank correlation of smaller images with whole images, over 12 candidates")
    assert fidelity.said().endswith("candidates begin with smaller images")
    record = TrialRecord(0, IDENTITY, "baseline", "COMPLETE", images=48, unet_evaluations=48)
    most = [TrialRecord(n, Factors(1 + n / 100, 1, 1, 1), "gp", "COMPLETE", rungs={-12: {}}) for n in range(1, 5)]
    more = [replace(each, number=each.number + 4, rungs={-12: {}, 24: {}}) for each in (*most, *most)]
    assert not fidelity.weigh([record, *most, *more]) and fidelity.pays  # a quarter and two thirds


def test_what_is_expected_is_less_sure_than_what_was_seen() -> None:
    found = Line(0.9, 2.0, 1.0, 0.3).expected(Value(5.0, 0.2, 12, "up", 0.1))
    assert found == Value(11.0, 0.5, 12, "up", math.hypot(0.2, 0.3))


def test_images_of_few_steps_count() -> None:
    def record(images: int, *rungs: int) -> TrialRecord:
        return TrialRecord(1, IDENTITY, "gp", "COMPLETE", images=images, rungs={n: {} for n in rungs})

    assert made(record(48, 12, 24, 48)) == 48
    assert made(record(24, -12, 24)) == 36
    assert made(record(12, -12)) == 12
    assert made(record(48)) == 48


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def said(self, text: str) -> None:
        self.lines.append(text)


def race(folder: Path, trials: int, sign: float) -> tuple[list[Task], list[TrialRecord], list[str]]:
    """All steps: a candidate is the better the nearer b1 is to 1.3. Few steps say half of that, or the contrary."""
    tasks: list[Task] = []
    noise = np.random.default_rng(0).normal(size=PROMPTS)

    def evaluate(task: Task, on_images: object) -> Evaluation:
        tasks.append(task)
        worth = -10 * abs(task.candidate.factors.b1 - 1.3)
        scores = (noise[: task.end] + worth) if task.purpose == "search" else 5 + noise[: task.end] + sign * worth / 2
        table = pd.DataFrame({"prompt": "p", "seed": 0, "clip": scores})
        base = None if task.base is None or task.base.per_image is None else task.base.per_image["clip"].to_numpy()
        value, spread, paired = mean(scores, base)
        values = {
            "clip": Value(value, spread, task.end, "up", paired),
            "fid": Value(-value, spread, task.end, "down", paired),
        }
        evaluations = task.end if task.purpose == "search" else task.end // 2
        return Evaluation(values, task.end, table, seconds={"total": 1.0}, unet_evaluations=evaluations)

    crew = SingleWorker(Evaluators({"search": evaluate, LOW: evaluate}))  # type: ignore[dict-item]
    watcher = Said()
    study = opened(folder, prompts=PROMPTS, race=True, evaluate=None, watcher=watcher)
    low = Draft(evaluate(Task(Candidate(IDENTITY), PROMPTS, purpose=LOW), None))
    super(type(study), study).run(crew, trials, low=low)
    return tasks[1:], study.records(), watcher.lines


def test_few_steps_that_rank_alike_are_the_first_rung(tmp_path: Path) -> None:
    _, records, said = race(tmp_path, 60, sign=1.0)
    assert [record.images for record in records[:2]] == [PROMPTS, PROMPTS]  # the baseline and the published: all steps
    first, later = records[2 : 2 + PAIRS], records[2 + PAIRS :]
    assert all({-12, 12} <= set(record.rungs) for record in first)
    assert all(-12 in record.rungs and 12 not in record.rungs for record in later)
    assert said == [
        "rank correlation of few steps with all steps, over 12 candidates: clip 1.00 (at least 1.00), "
        "fid 1.00 (at least 1.00); candidates begin with few steps"
    ]
    ended = [record for record in later if max(record.rungs) < 0]
    went_on = [record for record in later if 24 in record.rungs]
    assert len(ended) + len(went_on) == len(later) and ended and went_on
    for record in ended:  # the line is exact here, so they have what all steps would say
        base = records[0].values["clip"].value + 10 * abs(IDENTITY.b1 - 1.3)
        assert record.values["clip"].value == pytest.approx(base - 10 * abs(record.factors.b1 - 1.3))
        assert record.images == 12 and record.unet_evaluations == 6
    assert all(record.unet_evaluations == 6 + record.images for record in went_on)
    again, kept, said_again = race(tmp_path, 60, sign=1.0)
    assert again == [] and kept == records and said_again == said


def test_the_same_candidates_tell_after_a_restart() -> None:
    """Also where an earlier one ended later, as with several workers."""
    base = Draft(Evaluation({}, PROMPTS))
    kept: dict[str, Any] = {}

    def once(key: str, make: Callable[[], Any]) -> Any:
        return kept.setdefault(key, make())

    def record(number: int, low: float) -> TrialRecord:
        rungs = {-12: {"clip": low}, 12: {"clip": float(number)}}
        return TrialRecord(number, IDENTITY, "gp", "COMPLETE", images=12, rungs=rungs)

    done = [record(number, float(number)) for number in range(2, 2 + PAIRS)]
    late = record(1, 99.0)
    during, after, elsewhere = (Fidelity(base, 12, ["clip"]) for _ in range(3))
    assert not during.learn(done[1:], once) and during.learn(done, once)
    assert after.learn([late, *done], once) and after.lines == during.lines and after.usable
    assert not elsewhere.learn([late, *done[1:]], once)  # another machine's, and one of them is not here yet


def test_few_steps_that_rank_otherwise_are_given_up(tmp_path: Path) -> None:
    tasks, records, said = race(tmp_path, 24, sign=-1.0)
    assert "clip -1.00" in said[0] and "few steps are dropped" in said[0]
    assert sum(task.purpose == LOW for task in tasks) == PAIRS
    assert all(record.images in (12, 24, PROMPTS) and max(record.rungs) > 0 for record in records)


def test_few_steps_are_checked_before_anything_loads(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--low-steps 12: give fewer than the 12"):
        plan(prepare(load(None, {"mlruns": tmp_path, "low_steps": 12})))
    with pytest.raises(UserError, match="leave out --no-racing"):
        load(None, {"mlruns": tmp_path, "low_steps": 6, "racing": False})
    with pytest.raises(UserError, match="--low-steps 6 is for the first of several rungs, and 8 prompts make only one"):
        plan(prepare(load(None, {"mlruns": tmp_path, "low_steps": 6, "limit": 8})))
    lines = plan(prepare(load(None, {"mlruns": tmp_path, "low_steps": 6}))).lines()
    assert any("6 steps, if they rank the first candidates as 12 do" in each for each in lines)


def test_a_trial_of_few_steps_says_so() -> None:
    from rich.console import Console

    from search.terminal.progress import Progress

    console = Console(width=200, record=True)
    progress = Progress(console, {"clip": "up"}, 2, 48)
    value = {"clip": Value(1.0, 0.1, 12, "up")}
    for rungs in ((-12,), (-12, 24)):
        progress.ended(TrialRecord(1, IDENTITY, "gp", "COMPLETE", value, images=12, rungs={n: {} for n in rungs}))
    _, first, second = console.export_text().splitlines()
    assert "12 prompts with few steps" in first and "with few steps" not in second


def test_published_factors_are_not_judged_by_few_steps(tmp_path: Path) -> None:
    tasks, _, _ = race(tmp_path, 12, sign=1.0)
    whole = (IDENTITY, Factors(1.3, 1.4, 0.9, 0.2))
    assert all(task.purpose == "search" for task in tasks if task.candidate.factors in whole)
