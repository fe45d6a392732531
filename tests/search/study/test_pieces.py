"""Tasks in pieces: whoever draws which, the same is found; and whole studies whose workers all have something to do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmarks.simulated import SimulatedCrew, Timed, whole_study
from freeu import IDENTITY, Candidate, Factors
from freeu.generate import GenerationError
from search import session
from search.evaluation import Evaluation, Evaluator, Evaluators, Task
from search.settings import rungs
from search.storage import StudyFolder
from search.study.pieces import pieces, shared_out
from tests.search.fakes import FakeGenerator, FakeMetric, metrics, settings

SOME = Candidate(Factors(1.1, 1.2, 0.9, 0.8))
RUNGS = rungs.rungs(48)


def evaluators(generator: Any = None) -> Evaluators:
    measured = [FakeMetric("clip", 0), FakeMetric("fid", 0, per_image=False)]
    named = {metric.name: metric for metric in measured}
    generator = generator or FakeGenerator()
    return Evaluators({"search": Evaluator(generator, named, [f"p{i}" for i in range(48)], list(range(48)))})  # type: ignore[dict-item]


@pytest.mark.parametrize(("workers", "size", "count"), [(1, 12, 1), (2, 12, 4), (8, 6, 8), (16, 3, 16), (64, 2, 24)])
def test_blocks_are_of_one_size_and_each_worker_has_one(workers: int, size: int, count: int) -> None:
    cuts = rungs.cuts(RUNGS, workers)
    assert rungs.block(RUNGS, workers) == size and len(cuts) == count and cuts[-1] == 48
    if workers > 1:
        assert set(RUNGS) <= set(cuts) and set(np.diff((0, *cuts))) == {size}
    assert [(each.begin, each.end) for each in pieces(Task(SOME, 24, Evaluation({}, 12)), (12, 18, 24, 48))] == [
        (12, 18),
        (18, 24),
    ]


@pytest.mark.parametrize("workers", [2, 8, 64])
def test_pieces_are_what_one_worker_finds(workers: int) -> None:
    held = evaluators()
    base = held.evaluate(Task(Candidate(IDENTITY), 48))
    half = held.evaluate(Task(SOME, 24, base=base))
    for task in (Task(SOME, 48, base=base), Task(SOME, 48, half, base), Task(Candidate(IDENTITY), 48)):
        whole = held.evaluate(task)
        found = shared_out(SimulatedCrew(held, Timed(), workers, 1.0), task, rungs.cuts(RUNGS, workers))
        assert found.values == whole.values and found.n == whole.n == 48
        assert found.per_image is not None and whole.per_image is not None
        pd.testing.assert_frame_equal(found.per_image, whole.per_image)
        assert (found.features["fid"] == whole.features["fid"]).all()
        assert found.images is not None and found.images.equal(whole.images)  # type: ignore[arg-type]
        assert found.unet_evaluations == whole.unet_evaluations
    with pytest.raises(GenerationError, match="black"):
        shared_out(SimulatedCrew(evaluators(Broken(1)), Timed(), 8, 1.0), Task(SOME, 48), rungs.cuts(RUNGS, 8))


class Broken(FakeGenerator):
    """Fails for one candidate's second piece, or for the first so many calls."""

    def __init__(self, calls: int = 0) -> None:
        super().__init__()
        self.left = calls

    def generate(self, prompts: Any, seeds: Any, factors: Factors, on_step: Any = None) -> Any:
        if self.left:
            self.left -= 1
            raise GenerationError("the image is black all over")
        if factors == Factors(1.4, 1.6, 0.9, 0.2) and 3 in map(int, (prompt.split()[-1] for prompt in prompts)):
            raise GenerationError("the image of thing 3 is black all over")
        return super().generate(prompts, seeds, factors, on_step)


def ran(folder: Path, monkeypatch: pytest.MonkeyPatch, workers: int, generator: Any = None) -> StudyFolder:
    flags: dict[str, Any] = {"objectives": "clip,fid", "guardrails": False, "trials": 6, "finalists": 1, "limit": 12}
    config = settings(folder, workers=workers, held_out=8, cache=False, baseline_guidance="off", **flags)

    def crew(load: Any, workers: int, device: Any) -> SimulatedCrew:
        return SimulatedCrew(load(), Timed(), workers, 1.0)

    monkeypatch.setattr(session, "processes", crew)
    made = generator or FakeGenerator()
    session.run_study(config, Console(file=io.StringIO()), lambda config, spec: (made, metrics(config)))
    return StudyFolder(folder / "mlruns", "small")


def test_a_study_in_pieces_scores_its_candidates_as_one_worker_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, shared = (ran(tmp_path / str(n), monkeypatch, n) for n in (1, 6))
    scores = {each.candidate: each for each in alone.read_trials()}
    both = [each for each in shared.read_trials() if each.candidate in scores]
    assert len(both) >= 4 and both[0].candidate.baseline
    for each in both:
        assert each.values == scores[each.candidate].values and each.images == scores[each.candidate].images
        assert shared.grid_file(each.number).exists() == alone.grid_file(scores[each.candidate].number).exists()


def test_a_piece_that_fails_costs_its_trial_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = ran(tmp_path, monkeypatch, 6, Broken()).read_trials()
    failed = [each for each in records if not each.complete]
    assert all("thing 3 is black" in str(each.reason) for each in failed)
    assert len({each.number for each in records}) == len(records) and sum(each.complete for each in records) == 6


def test_all_workers_have_something_to_do(tmp_path: Path) -> None:
    """A short study; benchmarks/coordinator.py has the default one. Nothing is counted but the images' time. Were the
    spread and the baseline one worker's each, it would be half of this."""
    flags: dict[str, Any] = {"trials": 16, "sampler": "random", "held_out": 64, "baseline_guidance": "off"}
    share, _ = whole_study(tmp_path, 8, 3.0, None, **flags)
    assert share > 0.75
