"""No image is made twice."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from configs import UserError, identity, path
from freeu import IDENTITY, Candidate, Factors
from metrics import registry
from search.evaluation import Evaluator, Task
from search.evaluation.score_cache import Cache
from search.session import run_study
from search.storage import StudyFolder, TrialRecord
from search.storage.files import write_json
from tests.search.fakes import FakeGenerator, FakeMetric, metrics, settings

SOME = Factors(1.1, 1.2, 0.9, 0.8)


def evaluator(generator: FakeGenerator, cache: Cache | None) -> Evaluator:
    measured = [FakeMetric("clip", 0), FakeMetric("fid", 0, per_image=False)]
    return Evaluator(generator, {m.name: m for m in measured}, [f"p{i}" for i in range(12)], list(range(12)), cache)


def test_what_is_known_is_not_made_again_and_scores_are_the_same(tmp_path: Path) -> None:
    cache, generator = Cache(tmp_path, {"weights": "a"}), FakeGenerator()
    plain = evaluator(FakeGenerator(), None)(Task(Candidate(SOME), 12))
    first = evaluator(generator, cache)(Task(Candidate(SOME), 6))
    evaluator(generator, cache)(Task(Candidate(IDENTITY), 12))
    # Six are known; of another candidate all are.
    whole = evaluator(generator, cache)(Task(Candidate(SOME), 12))
    assert [len(prompts) for _, prompts, _ in generator.calls] == [6, 12, 6]
    assert generator.calls[-1][1] == tuple(f"p{i}" for i in range(6, 12))
    assert (first.unet_evaluations, whole.unet_evaluations) == (60, 60)
    for found in (
        whole,
        evaluator(generator, cache)(Task(Candidate(SOME), 12)),
        evaluator(generator, cache)(Task(Candidate(SOME), 12, first)),
    ):
        pd.testing.assert_frame_equal(found.per_image, plain.per_image)
        assert (found.features["fid"] == plain.features["fid"]).all()
        assert found.values == plain.values
    assert len(generator.calls) == 3


def test_other_weights_seeds_or_metrics_know_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, {"weights": "a", "metrics": ["clip 1"]})
    cache.write(Candidate(SOME), ["p"], [1], {"clip": np.array([0.5])})
    assert cache.read(Candidate(SOME), ["p", "p", "q"], [1, 2, 1]) == [{"clip": 0.5}, None, None]
    assert cache.read(Candidate(IDENTITY), ["p"], [1]) == [None]
    for made in ({"weights": "b", "metrics": ["clip 1"]}, {"weights": "a", "metrics": ["clip 2"]}):
        assert Cache(tmp_path, made).read(Candidate(SOME), ["p"], [1]) == [None]


@pytest.mark.parametrize("torn", [b"", b"PK\x03\x04 torn"])
def test_a_torn_file_counts_as_none_and_is_replaced(tmp_path: Path, torn: bytes) -> None:
    cache = Cache(tmp_path, {})
    cache.write(Candidate(SOME), ["p"], [1], {"clip": np.array([0.5])})
    next(tmp_path.rglob("*.npz")).write_bytes(torn)
    assert cache.read(Candidate(SOME), ["p"], [1]) == [None]
    cache.write(Candidate(SOME), ["p"], [1], {"clip": np.array([0.7])})
    assert cache.read(Candidate(SOME), ["p"], [1]) == [{"clip": 0.7}]


def trained(file: Path, scale: float) -> None:
    """A head of the embedded CLIP's width; its scores are `scale` times the first's."""
    draw = torch.Generator().manual_seed(0)
    tensors = {"weight": scale * torch.randn(1, 128, generator=draw), "bias": torch.zeros(1)}
    save_file(tensors, file, metadata={"encoder": identity(path("models", "shapes", "scorers", "clip"))})


def test_a_head_that_was_trained_again_under_its_name(tmp_path: Path) -> None:
    """Its predecessor's scores are not taken over, and a study that was begun with that doesn't go on."""
    head, clip = tmp_path / "head.safetensors", f"local-dir:{path('models', 'shapes', 'scorers', 'clip')}"
    spec = {"kind": "aesthetic_head", "file": str(head), "encoder": {"kind": "open_clip", "source": clip}}

    def run(name: str, **more: Any) -> list[float]:
        built = registry.build("aesthetic", {"aesthetic": spec}, "cpu", Path("/"))
        small = {"objectives": "aesthetic", "trials": 3, "limit": 4, "guardrails": False, "study": name}
        config, console = settings(tmp_path, **small | more), Console(file=io.StringIO(), width=200)
        run_study(config, console, lambda config, spec: (FakeGenerator(), {built.name: built}))
        return [record.values["aesthetic"].value for record in StudyFolder(config.mlruns, name).read_trials()]

    trained(head, 1)
    before = run("one")
    trained(head, 3)
    assert run("two") == pytest.approx([3 * value for value in before])
    assert run("two") == run("three", cache=False)
    trained(head, 1)
    assert run("four") == before
    with pytest.raises(UserError, match=r"scorers' weights aesthetic \w{16}, was aesthetic \w{16}"):
        run("two", trials=4)


def test_studies_at_once_write_one_file(tmp_path: Path) -> None:
    """Each under a temporary name of its own, or one would take the other's away."""
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda n: Cache(tmp_path, {}).write(Candidate(SOME), ["p"], [1], {"clip": np.array([0.5])}), range(200)
            )
        )
    assert Cache(tmp_path, {}).read(Candidate(SOME), ["p"], [1]) == [{"clip": 0.5}]
    (left,) = (file for file in tmp_path.rglob("*") if file.is_file())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_json(left, {"n": n}), range(200)))
    assert list(left.parent.iterdir()) == [left]


def test_a_disk_that_refuses_costs_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    Cache(tmp_path / "file", {}).write(Candidate(SOME), ["p"], [1], {"clip": np.array([0.5])})
    assert Cache(tmp_path / "file", {}).read(Candidate(SOME), ["p"], [1]) == [None]


def test_a_grid_is_of_all_images_or_there_is_none(tmp_path: Path) -> None:
    """Of a candidate that an earlier study drew on a part of the prompts, the rest alone is drawn."""

    def run(name: str, limit: int) -> StudyFolder:
        config = settings(tmp_path, study=name, limit=limit, racing=False, trials=4)
        run_study(config, Console(file=io.StringIO()), lambda config, spec: (FakeGenerator(), metrics(config)))
        return StudyFolder(config.mlruns, name)

    few, more = run("few", 9), run("more", 12)
    assert all(few.grid_file(record.number).exists() for record in few.read_trials())
    known = {record.factors for record in few.read_trials()}
    for record in more.read_trials():
        assert more.grid_file(record.number).exists() is (record.factors not in known)


def test_pictures_of_another_candidate_dont_stay(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path, "s")
    table = pd.DataFrame({"prompt": ["p"], "seed": [1]})
    record = TrialRecord(3, SOME, "gp", "COMPLETE", images=1)
    for images in (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None):
        folder.write_trial(record, table, images)
        folder.write_held_out_images("0003", 0, 1, images)
        assert folder.grid_file(3).exists() is folder.held_out_image("0003", 0).exists() is (images is not None)


def test_another_study_of_the_same_model_makes_nothing_again(tmp_path: Path) -> None:
    def run(name: str, **more: Any) -> tuple[FakeGenerator, StudyFolder]:
        generator, console = FakeGenerator(), Console(file=io.StringIO(), width=200)
        config = settings(tmp_path, study=name, **more)
        run_study(config, console, lambda config, spec: (generator, metrics(config)))
        return generator, StudyFolder(config.mlruns, name)

    first, one = run("one")
    again, two = run("two")
    assert first.calls and not again.calls
    scores = [{r.factors: {k: v.value for k, v in r.values.items()} for r in s.read_trials()} for s in (one, two)]
    assert scores[0] == scores[1]
    assert run("three", cache=False)[0].calls
    assert len(run("four", trials=12)[0].calls) < len(first.calls)
