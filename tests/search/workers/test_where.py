"""The device is asked once, by a worker, and everything takes its answer: here with torch and Ray that claim cards."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from configs import UserError, devices, read_yaml
from configs.devices import Device
from search.evaluation import Evaluators
from search.evaluation.loading import CACHE, assemble, known
from search.session import Session, run_study
from search.settings.job import prepare
from search.storage import StudyFolder
from search.study.plan import plan
from search.workers import done
from search.workers.processes import environments
from tests.search.fakes import FakeGenerator, metrics, settings

CARDS = ("NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090")


def has_cards(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """torch with CUDA and so many cards; none of them has a file in /dev, as under WSL2."""

    def properties(device: torch.device) -> Any:
        return SimpleNamespace(name=CARDS[device.index or 0], total_memory=80 * 10**9, major=9, minor=0)

    monkeypatch.setattr(devices, "DRIVERS", ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)


class HalfGenerator(FakeGenerator):
    dtype = torch.float16


def ran(folder: Path, monkeypatch: pytest.MonkeyPatch, **flags: Any) -> tuple[str, Session]:
    """What a study of two trials printed, and its session."""
    sessions: list[Session] = []
    kept = Session._searched
    monkeypatch.setattr(Session, "_searched", lambda self, *more: sessions.append(self) or kept(self, *more))
    config = settings(folder, trials=2, finalists=1, held_out=2, guardrails=False, objectives="clip,aesthetic", **flags)
    printed = io.StringIO()
    run_study(config, Console(file=printed, width=200), lambda config, spec: (HalfGenerator(), metrics(config)))
    return printed.getvalue(), sessions[0]


@pytest.mark.parametrize(("asked", "name", "model"), [(None, "cuda", CARDS[0]), ("cuda:1", "cuda:1", CARDS[1])])
def test_under_wsl2_all_take_what_torch_says(
    asked: str | None, name: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_cards(monkeypatch, 2)
    assert devices.likely(None) == Device("cpu")  # so says the machine without torch
    printed, session = ran(tmp_path, monkeypatch, **({} if asked is None else {"device": asked}))
    assert session.job.device == session.plan.job.device
    assert session.job.device == Device(name, model, 80 * 10**9, "9.0", "float16")
    assert f"on {name}: {model}, 80 GB, compute capability 9.0, float16" in printed
    assert ("not a CPU as it seemed: " in printed) is (asked is None)
    kept = read_yaml(StudyFolder(tmp_path / "mlruns", "small").config)
    assert kept["device"] == name and kept["fingerprint"]["numbers"] == "float16"
    from search.tracking.description import resolved

    told = resolved(session.job)
    assert (told["device"], told["gpu"], told["dtype"]) == (name, model, "float16")


def test_scores_of_another_card_or_precision_are_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []
    for count, device in ((2, "cuda:0"), (2, "cuda:1"), (0, "cpu")):
        has_cards(monkeypatch, count)
        config = settings(tmp_path, objectives="clip", device=device, guardrails=False, study=device.replace(":", ""))
        held = assemble(lambda config, spec: (FakeGenerator(), metrics(config)), prepare(config))
        folders.append(held.by_purpose["search"].cache._folder)  # type: ignore[union-attr]
        assert folders[-1].parent == tmp_path / "mlruns" / CACHE
    assert len(set(folders)) == 3
    one = Device("cuda", CARDS[0], 1, "9.0", "float16")
    assert one.exact != Device("cuda", CARDS[0], 1, "9.0", "bfloat16").exact
    assert one.exact == Device("cuda:1", CARDS[0], 2, "9.0", "float16").exact


def test_a_study_does_not_go_on_in_another_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_cards(monkeypatch, 1)
    ran(tmp_path, monkeypatch)
    has_cards(monkeypatch, 0)
    config = settings(tmp_path, trials=3, finalists=1, held_out=2, guardrails=False, objectives="clip,aesthetic")
    generator = HalfGenerator()
    generator.dtype = torch.float32
    with pytest.raises(UserError, match=r"--dtype \(each kind .*\) float32, was float16"):
        run_study(config, Console(file=io.StringIO()), lambda config, spec: (generator, metrics(config)))


def test_each_worker_sees_a_card_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    has_cards(monkeypatch, 2)
    cuda = "CUDA_VISIBLE_DEVICES"
    assert environments(2, None) == environments(2, "cuda") == [{cuda: "0"}, {cuda: "1"}]
    assert environments(3, None)[2] == {cuda: "0"}
    assert environments(2, "cuda:1") == environments(2, "cpu") == [{}, {}]
    monkeypatch.setenv(cuda, "3, MIG-4f")
    assert environments(2, None) == [{cuda: "3"}, {cuda: "MIG-4f"}]
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert environments(1, None) == [{"HIP_VISIBLE_DEVICES": "3"}]
    has_cards(monkeypatch, 0)
    assert environments(2, None) == [{}, {}]


def told(held: Evaluators, on_images: Any) -> tuple[int, str]:
    """Torch's threads in a worker, and the card that it was shown."""
    import os

    return torch.get_num_threads(), os.environ.get("CUDA_VISIBLE_DEVICES", "")


def empty() -> Evaluators:
    return Evaluators({})


def test_a_worker_with_a_card_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    from search.workers.processes import processes

    has_cards(monkeypatch, 2)
    crew = processes(empty, 2, None)
    try:
        threads, card = done(crew, told)
    finally:
        crew.close()
    assert threads == max(1, devices.cores() // 2) and card in ("0", "1")


class Ray:
    """A cluster: what an actor asked for, and what Ray knows in one."""

    def __init__(self, resources: dict[str, float]) -> None:
        self.resources, self.asked, self.made = resources, [], []

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, **asked: Any) -> Any:
        self.asked.append(asked)

        def remote(*args: Any) -> Any:
            self.made.append(args)
            from concurrent.futures import Future

            return SimpleNamespace(do=SimpleNamespace(remote=lambda job: SimpleNamespace(future=Future)))

        return lambda kind: SimpleNamespace(remote=remote)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "here")

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "there", "Resources": {}}, {"NodeID": "here", "Resources": self.resources}]


def test_a_ray_head_without_a_card_asks_for_one_for_each_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    pytest.importorskip("ray", reason="ray is not installed")
    from search.workers import ray_actors

    has_cards(monkeypatch, 0)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # else it is handed on to the workers
    cluster = Ray({"CPU": 32.0, "GPU": 8.0})
    for name in ("is_initialized", "cluster_resources", "remote", "get_runtime_context", "nodes"):
        monkeypatch.setattr(sys.modules["ray"], name, getattr(cluster, name))
    assert prepare(settings(tmp_path, ray="auto")).device.name == "cuda"
    assert prepare(settings(tmp_path, ray="auto", device="cpu")).device.name == "cpu"
    with pytest.raises(UserError, match="--device cuda:1 with --ray: Ray gives each worker a GPU"):
        prepare(settings(tmp_path, ray="auto", device="cuda:1"))
    for device in (None, "cuda", "cpu"):
        ray_actors.actors(empty, "auto", 4, device)
    gpu = {"num_gpus": 1, "num_cpus": 0, "max_restarts": 0}
    assert cluster.asked == [gpu, gpu, {"num_gpus": 0, "num_cpus": 1, "max_restarts": 0}]
    assert ray_actors._beside(4, "GPU") == 4 and ray_actors._beside(16, "GPU") == 8
    cluster.resources = {"CPU": 32.0}
    with pytest.raises(UserError, match="no machine there has a GPU: give --device cpu"):
        ray_actors.actors(empty, "auto", 4, None)
    ray_actors.actors(empty, "auto", 4, "cuda")  # waits for one to join


def test_a_worker_tells_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_cards(monkeypatch, 1)
    job = prepare(settings(tmp_path, objectives="clip", guardrails=False, device="cuda"))
    held = partial(assemble, lambda config, spec: (HalfGenerator(), metrics(config)))(job)
    assert known(held, lambda done: None).device == Device("cuda", CARDS[0], 80 * 10**9, "9.0", "float16")
    has_cards(monkeypatch, 0)
    with pytest.raises(UserError, match="no device 'cuda'"):
        assemble(lambda config, spec: (FakeGenerator(), metrics(config)), job)


@pytest.mark.parametrize(("given", "warned"), [({"device": "cuda"}, True), ({}, False), ({"ray": "local"}, False)])
def test_a_plan_says_that_there_seems_to_be_no_gpu(
    given: dict[str, Any], warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "DRIVERS", (tmp_path / "none",))
    told = "\n".join(plan(prepare(settings(tmp_path, **given))).lines())
    assert ("this machine seems to have no cuda: no driver of a GPU was found" in told) is warned
    (tmp_path / "none").touch()
    assert "seems to have no" not in "\n".join(plan(prepare(settings(tmp_path, **given))).lines())
