"""MLflow on a server that dies and comes back: in the end it holds every trial once, and no study waits for it."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from rich.console import Console

from configs import UserError
from search.session import run_study
from search.settings.config import StudyConfig
from search.storage import StudyFolder
from search.storage.mlflow_location import EXPERIMENT
from search.tracking import Tracker
from search.tracking.background import BackgroundTracker
from search.tracking.machine import Machine
from tests.mlflow_server import Server
from tests.search.fakes import FakeGenerator, metrics, settings


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("server"))
    found.start()
    yield found
    found.end()


class Meddler(FakeGenerator):
    """Kills the server at the third images, among the requests of an earlier trial, and starts it at the sixth,
    when that was noticed."""

    def __init__(self, server: Server, out: io.StringIO) -> None:
        super().__init__()
        self.server, self.out = server, out

    def generate(self, *given: Any, **named: Any) -> torch.Tensor:
        images = super().generate(*given, **named)
        if len(self.calls) == 3:
            self.server.kill()
        elif len(self.calls) == 6:
            limit = time.monotonic() + 600
            while "does not answer" not in self.out.getvalue() and time.monotonic() < limit:
                time.sleep(0.05)
            self.server.start()
        return images


def study(config: StudyConfig, killed: Server | None = None) -> tuple[dict[str, Any], str]:
    out = io.StringIO()
    generator = FakeGenerator() if killed is None else Meddler(killed, out)
    result = run_study(config, Console(file=out, width=200), lambda config, spec: (generator, metrics(config)))
    return result, out.getvalue()


def runs(uri: str, name: str) -> tuple[Any, list[Any], Any]:
    """The study's run, its trials by number, the client. One run of that name, none of them RUNNING."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (parent,) = client.search_runs([experiment.experiment_id], f"tags.`freeu.study` = '{name}'")
    children = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert all(run.info.status != "RUNNING" for run in [parent, *children])
    return parent, sorted(children, key=lambda run: int(run.data.tags["freeu.trial"])), client


def whole(uri: str, folder: StudyFolder) -> None:
    """Every trial once, with its numbers and images; the front; nothing twice."""
    parent, children, client = runs(uri, folder.name)
    records = folder.read_trials()
    assert [int(run.data.tags["freeu.trial"]) for run in children] == [record.number for record in records]
    for run, record in zip(children, records, strict=True):
        assert run.info.status == ("FINISHED" if record.complete else "FAILED")
        for name, value in record.values.items():
            assert run.data.metrics[name] == value.value
        there = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        number = f"{record.number:04d}"
        assert there >= {f"{number}.png", f"{number}.parquet"}
        assert (f"{number}-difference.png" in there) is not record.factors.identity
    history = client.get_metric_history(parent.info.run_id, "trial/clip")
    assert Counter(point.step for point in history) == Counter(record.number for record in records)
    images = [artifact.path for artifact in client.list_artifacts(parent.info.run_id, "images")]
    grids = Counter(path.split("+")[2] for path in images if path.startswith("images/grid+") and path.endswith("webp"))
    assert grids == Counter(str(record.number) for record in records)
    assert parent.info.status == "FINISHED"
    logged = json.loads(Path(client.download_artifacts(parent.info.run_id, "result.json")).read_text())
    assert logged == json.loads(folder.result.read_text())
    assert {each.path for each in client.list_artifacts(parent.info.run_id)} >= {"front.html", "front.csv"}


@pytest.mark.parametrize("breaks", ["__init__", "read"])
def test_a_machine_that_cant_be_read_ends_no_study(breaks: str, tmp_path: Path, monkeypatch: Any) -> None:
    def broken(*given: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Machine, breaks, broken)
    config = settings(tmp_path, study="alone", trials=3)
    result, _ = study(config)
    assert result["trials"] == 3 and StudyFolder(config.mlruns, "alone").read_result() == result


def test_a_server_is_killed_in_mid_study_and_comes_back(server: Server, tmp_path: Path) -> None:
    config = settings(tmp_path, tracking_uri=server.uri, study="killed", trials=8)
    folder = StudyFolder(config.mlruns, "killed")
    _, said = study(config, killed=server)
    study(config)  # the same command, as where the server was not back in time
    assert said.count("does not answer") == 1
    whole(server.uri, folder)
    parent, children, _ = runs(server.uri, "killed")
    assert {each.dataset.name for each in children[0].inputs.dataset_inputs} >= {"shapes"}
    assert "version.torch" in parent.data.tags
    assert any(name.startswith("system/cpu") for name in parent.data.metrics)


def test_what_was_half_logged_is_thrown_away_and_logged_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost at each kind of request: the first time before it is served, the second time after."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact import http_artifact_repo
    from mlflow.utils import rest_utils

    config = settings(tmp_path, tracking_uri=server.uri, study="half", trials=2)
    real, asked, last = rest_utils.http_request, Counter[str](), BackgroundTracker._last

    def flaky(host_creds: Any, endpoint: str, method: str, **options: Any) -> Any:
        kind = f"{method} {endpoint}" if endpoint.startswith("/api/") else f"{method} a file"
        asked[kind] += 1
        number = asked[kind]
        answer = real(host_creds, endpoint, method, **options) if number > 1 else None
        if number <= 2:
            raise MlflowException(f"API request to {server.uri} failed with exception [Errno 104] connection reset")
        return answer

    with monkeypatch.context() as patch:
        # Every loss ends an attempt, so at the end there are enough of them for those that the study did not meet.
        patch.setattr(BackgroundTracker, "_last", lambda self, *pauses: last(self, *[0.0] * 60))
        patch.setattr(
            "search.reporting.mlflow_page.study_page", lambda *arguments: "a page"
        )  # a large one tests nothing more
        for module in (rest_utils, http_artifact_repo):
            patch.setattr(module, "http_request", flaky)
        study(config)
    api = "POST /api/2.0/mlflow/runs"
    wanted = {f"{api}/{name}" for name in ("create", "update", "search", "log-batch", "log-inputs")}
    assert {kind for kind, number in asked.items() if number > 2} >= {*wanted, "PUT a file"}
    whole(server.uri, StudyFolder(config.mlruns, "half"))


def test_a_server_that_is_not_there_at_all(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study ends all the same, says so once at the beginning and once at the end, and is caught up later, which
    says how far it is."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    config = settings(tmp_path, tracking_uri=nobody, study="alone", trials=3)
    result, said = study(config)
    assert result["trials"] == 3
    assert said.count("does not answer (connection refused): the study goes on") == 1
    assert said.count("lacks a part of this study: run the command again to log it") == 1
    again, said = study(config)  # a finished study, and still nobody there
    assert again == result
    assert "run the same command again to log what it lacks of this study" in said
    monkeypatch.setattr("search.tracking.background.MANY", 2)
    _, said = study(config.model_copy(update={"tracking_uri": server.uri}))
    for what in "numbers", "files":
        for done in 0, 2:
            assert f"{server.uri} gets the {what} of 3 trials: {done} are there" in said
    whole(server.uri, StudyFolder(config.mlruns, "alone"))


def test_the_result_does_not_wait_for_mlflow(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written and shown first; Ctrl-C in what comes then loses nothing, and the same command sends the rest."""
    config = settings(tmp_path, tracking_uri=server.uri, study="first", trials=3)
    folder, out = StudyFolder(config.mlruns, "first"), io.StringIO()

    def slow(self: BackgroundTracker, result: dict[str, Any], records: Any) -> None:
        assert folder.read_result() == result and result["verdict"] in out.getvalue()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(typer.Exit):
        patch.setattr(BackgroundTracker, "finish", slow)
        run_study(config, Console(file=out, width=2000), lambda config, spec: (FakeGenerator(), metrics(config)))
    assert f"run the same command again to log the rest to {server.uri}" in out.getvalue()
    study(config)
    whole(server.uri, folder)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("http://", "names no host"),
        ("http://host:port", "its host or port is none"),
        ("ftp://host", "expected a server"),
        ("file:///tmp/mlruns", "no longer keeps runs in plain files"),
        ("mlruns", "expected a server"),
        ("sqlite://", "names no file"),
    ],
)
def test_a_wrong_uri_is_refused_before_anything(tmp_path: Path, uri: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        study(settings(tmp_path, tracking_uri=uri))
    assert not (tmp_path / "mlruns").exists()


def test_a_password_in_the_uri_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        Tracker(tmp_path, "s", "ftp://me:secret@host")
    assert "secret" not in str(error.value)


def test_a_page_that_is_no_mlflow_is_refused(tmp_path: Path) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404 if self.path.startswith("/none") else 200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *arguments: Any) -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        for path in ("", "/none"):
            with pytest.raises(UserError, match="is not an MLflow server: check --tracking-uri"):
                study(settings(tmp_path, tracking_uri=f"http://127.0.0.1:{page.server_port}{path}"))
        page.shutdown()
    assert not list(tmp_path.glob("mlruns/studies/*/trials/*"))


@pytest.mark.slow
def test_a_folder_s_first_database_is_not_waited_for(tmp_path: Path) -> None:
    """The thread makes it; that the study is whole in it in the end is told by every other test."""
    outbox = BackgroundTracker(Tracker(tmp_path, "first"), StudyFolder(tmp_path, "first"), pytest.fail)
    outbox.open()
    assert not outbox.tracker.settings.database.exists()


def test_another_database(tmp_path: Path) -> None:
    config = settings(tmp_path, tracking_uri=f"sqlite:///{tmp_path}/team.db", trials=3, objectives="clip")
    study(config)
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()
    whole_uri = f"sqlite:///{tmp_path}/team.db"
    parent, children, _ = runs(whole_uri, "small")
    assert parent.info.status == "FINISHED"
    assert len(children) == 3


def test_the_environment_names_the_server_and_local_takes_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://example.org:5000")
    assert settings(tmp_path).tracking_uri == "http://example.org:5000"
    assert settings(tmp_path, tracking_uri="http://other").tracking_uri == "http://other"
    assert Tracker(tmp_path, "s", settings(tmp_path, tracking_uri="local").tracking_uri).settings.own


@pytest.mark.slow
def test_basic_auth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong words end the command before an image is made; right ones log, through a restart too."""
    ini = tmp_path / "auth.ini"
    ini.write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{tmp_path}/auth.db\n"
        "admin_username = admin\nadmin_password = quite another word\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    more = {"MLFLOW_AUTH_CONFIG_PATH": str(ini), "MLFLOW_FLASK_SERVER_SECRET_KEY": "of these tests"}
    server = Server(tmp_path / "server", "basic-auth", **more)
    server.start()
    try:
        config = settings(tmp_path, tracking_uri=server.uri, trials=12)
        for name, password in (("", ""), ("admin", "wrong")):
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
            with pytest.raises(UserError, match="rejects the user name or password: set MLFLOW_TRACKING_USERNAME"):
                study(config)
        folder = StudyFolder(config.mlruns, "small")
        assert not list(folder.root.glob("trials/*"))
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "quite another word")

        study(config, killed=server)
        study(config)
        whole(server.uri, folder)
    finally:
        server.end()


def test_the_thread_ends_with_the_study(tmp_path: Path) -> None:
    """One that goes on would log beside the thread of the same command's next run."""
    config = settings(tmp_path, trials=2)
    before = {thread for thread in threading.enumerate() if thread.name == "MLflow"}
    study(config)
    deadline = time.monotonic() + 600
    while (left := {each for each in threading.enumerate() if each.name == "MLflow"} - before) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert not left
