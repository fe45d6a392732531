"""Files that MLflow's server, or a proxy before it, refuses: numbers get there, and each file has a fate of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from search.storage import StudyFolder
from search.storage.mlflow_location import mlflow_settings
from search.tracking import Tracker, Unreachable
from search.tracking.background import BackgroundTracker
from search.tracking.uploads import FIRST, LONGEST, Uploads
from tests.mlflow_server import Server
from tests.proxy import http_proxy
from tests.search.fakes import settings
from tests.search.tracking.test_background import runs, study, whole


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("server"))
    found.start()
    yield found
    found.end()


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_file_is_tried_again_after_pauses_that_grow(tmp_path: Path) -> None:
    clock, tries = Clock(), list[float]()
    uploads = Uploads(mlflow_settings(tmp_path), clock)

    def refused() -> None:
        tries.append(clock.now)
        raise OSError("413 Client Error: too large")

    for clock.now in range(0, 8000, 10):
        uploads.begin()
        uploads.tried("a.png", refused)
        assert uploads.tried("b.png", lambda: None)
    assert tries[:5] == [0, FIRST, 3 * FIRST, 7 * FIRST, 15 * FIRST]
    assert max(b - a for a, b in pairwise(tries)) <= LONGEST
    assert "a.png could not be kept" in uploads.said() and "413" in uploads.said()
    assert uploads.tried("a.png", lambda: pytest.fail("too early")) is False


def test_a_server_that_is_silent_is_not_asked_for_each_file(tmp_path: Path) -> None:
    uploads, asked = Uploads(mlflow_settings(tmp_path), Clock()), list[str]()

    def silent(name: str) -> None:
        asked.append(name)
        raise Unreachable("no answer in time")

    for name in "abcdef":
        uploads.tried(name, lambda name=name: silent(name))  # type: ignore[misc]
    assert asked == ["a", "b"] and set(uploads.failed) == set("abcdef")
    uploads.begin(last=True)  # at the end no pause counts
    assert all([uploads.tried(name, lambda: None) for name in "abcdef"])
    assert uploads.said() == ""


def deleted(uri: str) -> int:
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(uri)
    ids = [each.experiment_id for each in client.search_experiments()]
    return len(client.search_runs(ids, run_view_type=ViewType.DELETED_ONLY))


def test_a_proxy_that_refuses_images(server: Server, tmp_path: Path) -> None:
    """413 for images and the front's page: all numbers are there, the verdict too, and the same command sends them."""
    open_now = threading.Event()

    def answer(method: str, path: str) -> int | None:
        large = method == "PUT" and (".png" in path or "webp" in path or "front.html" in path)
        return 413 if large and not open_now.is_set() else None

    with http_proxy(server.uri, answer) as uri:
        config = settings(tmp_path, tracking_uri=uri, study="refused", trials=5)
        result, said = study(config)
        folder = StudyFolder(config.mlruns, "refused")
        parent, children, client = runs(server.uri, "refused")
        assert [int(run.data.tags["freeu.trial"]) for run in children] == [r.number for r in folder.read_trials()]
        assert all(run.info.status == "FINISHED" for run in [parent, *children])
        assert parent.data.tags["freeu.verdict"] == result["verdict"]
        there = {artifact.path for artifact in client.list_artifacts(children[1].info.run_id)}
        assert there == {"0001.parquet"}
        assert {each.path for each in client.list_artifacts(parent.info.run_id)} >= {"front.csv", "result.json"}
        assert "413" in said and said.count("the study goes on") == 1
        assert "lacks a part of this study" in said and "more files could not be kept" in said
        assert deleted(server.uri) == 0
        open_now.set()
        study(config)
    whole(server.uri, folder)
    assert deleted(server.uri) == 0


def test_a_proxy_that_answers_413_500_and_401_in_turn(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is answered instead of being done is done later; each reason is told; nothing is there twice."""
    statuses, asked, lock, last = [413, 500, 401], [0], threading.Lock(), BackgroundTracker._last
    monkeypatch.setattr(BackgroundTracker, "_last", lambda self, *pauses, **more: last(self, *[0.0] * 40, **more))
    monkeypatch.setattr("search.reporting.mlflow_page.study_page", lambda *arguments: "a page")

    def answer(method: str, path: str) -> int | None:
        with lock:
            asked[0] += 1
            number = asked[0]
        return statuses[number // 7 % 3] if statuses and number % 7 == 0 else None

    with http_proxy(server.uri, answer) as uri:
        config = settings(tmp_path, tracking_uri=uri, study="turns", trials=3)
        said = study(config)[1]
        statuses.clear()
        study(config)
    whole(server.uri, StudyFolder(config.mlruns, "turns"))
    for reason in ("413", "error 500", "rejects the user name or password"):
        assert reason in said


def test_two_catch_ups_do_not_undo_each_other(tmp_path: Path) -> None:
    """What another one is in the middle of is gone on with, not thrown away; what is there twice is there once."""
    from tests.search.tracking.test_tracking import CONFIG, record

    one, two = (Tracker(tmp_path / "mlruns", "s") for _ in range(2))
    one.start(CONFIG, "f", {})
    end = one._runs.client.set_terminated

    def meanwhile(run: str, *given: Any, **named: Any) -> None:
        two.start(CONFIG, "f", {})
        two.trial(record(0), None, None, ended=5.0)
        end(run, *given, **named)

    one._runs.client.set_terminated = meanwhile  # type: ignore[method-assign]
    one.trial(record(0), None, None, ended=5.0)
    uri = one.settings.uri
    parent, children, client = runs_of(uri)
    assert len(children) == 1 and children[0].info.status == "FINISHED"
    assert deleted(uri) == 0
    assert len(client.get_metric_history(children[0].info.run_id, "clip")) == 1
    assert two.missing([0]) == [] and parent.info.run_id


def runs_of(uri: str) -> tuple[Any, list[Any], Any]:
    from mlflow import MlflowClient

    from search.storage.mlflow_location import EXPERIMENT

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    (parent,) = client.search_runs([experiment], "tags.`freeu.study` = 's'")
    return parent, client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"), client


def test_images_come_from_the_machine_that_has_them(tmp_path: Path) -> None:
    """Another one logged the trial's numbers first, without its images."""
    from search.tracking.trial_files import TrialFiles
    from tests.search.tracking.test_tracking import CONFIG, record

    picture = tmp_path / "0000.png"
    from PIL import Image

    Image.new("RGB", (4, 4)).save(picture)
    one, two = (Tracker(tmp_path / "mlruns", "s") for _ in range(2))
    one.start(CONFIG, "f", {})
    one.trial(record(0), None, None)
    two.start(CONFIG, "f", {})
    assert two.missing([0]) == []
    assert two.files(TrialFiles(0, picture), 0.0)
    _, (child,), client = runs_of(two.settings.uri)
    assert {each.path for each in client.list_artifacts(child.info.run_id)} == {"0000.png"}
    one.look()
    assert one.files(TrialFiles(0, picture), 0.0)  # it is there


def test_a_refusal_is_no_reason_to_stop(tmp_path: Path) -> None:
    uploads = Uploads(mlflow_settings(tmp_path))

    def full() -> None:
        raise UserError("the disk is full")

    uploads.put("front.html", full)
    assert not uploads.waiting and uploads.failed
