"""`python -m search.ui` as a person meets it: ports, addresses, Ctrl-C, the pages in a headless browser."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch

from configs import UserError
from freeu import Factors
from search import ui
from search.storage.image_grid import save_grid
from search.storage.mlflow_location import mlflow_settings
from search.storage.trial_record import TrialRecord, Value
from search.terminal import local_server
from search.tracking import Tracker
from tests.browser import chromium, requested, until

ROOT = Path(__file__).parents[2]
DIRECTIONS = {"clip": "up", "aesthetic": "up", "fid": "down"}


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of three trials."""
    folder = tmp_path_factory.mktemp("ui") / "mlruns"
    tracker = Tracker(folder, "sunday")
    tracker.start({"model": "shapes"}, "fingerprint", {})
    records = []
    for number in range(3):
        values = {name: Value(number + 0.25, 0.1, 4, way) for name, way in DIRECTIONS.items()}
        factors = Factors(1 + number / 10, 1.2, 0.9, 0.2)
        records.append(TrialRecord(number, factors, "sobol", "COMPLETE", values, {"total": 1.0}, 4, 160, None))
        grid = folder / f"{number:04d}.png"
        save_grid(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), grid)
        tracker.trial(records[-1], grid, None)
    front = [{"number": 2, "factors": records[2].factors.as_dict(), "clip": 2.25}]
    picks = [{"pick": "knee", "number": 2, "factors": front[0]["factors"], "scores": {}}]
    verdict = "FreeU does not help here."
    tracker.finish({"objectives": DIRECTIONS, "front": front, "picks": picks, "verdict": verdict}, records)
    return folder


@pytest.fixture(scope="module")
def server(mlruns: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a person starts it, and the page that it says."""
    command = [sys.executable, "-m", "search.ui", "--mlruns", str(mlruns)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        # What is started in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/\S*", said)
    assert found is not None, said
    yield process, found[0]
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"), "--disable-gpu")


def shown(browser: Any, text: str, seconds: float = 60) -> bool:
    """Whether the page's text holds `text` within the time."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if text in browser.execute_script("return document.body ? document.body.innerText : ''"):
            return True
        time.sleep(0.25)
    return False


def run_ids(mlruns: Path) -> dict[str, str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow_settings(mlruns).uri)
    return {run.info.run_name: run.info.run_id for run in client.search_runs(["1"])}


def test_the_pages_show_the_study(mlruns: Path, server: tuple[subprocess.Popen[str], str], browser: Any) -> None:
    _, page = server
    ids = run_ids(mlruns)
    path, question = page.split("?")
    runs = path.removesuffix(f"/{ids['sunday']}")
    assert runs.endswith("/#/experiments/1/runs")  # so the page that is said is the study's own

    def opened(address: str) -> None:
        browser.get("about:blank")  # else the app keeps what was selected before
        browser.get(f"{address}?{question}")

    opened(path)
    for name in ids:
        assert shown(browser, name), name  # the study, and each of its trials by its factors
    assert shown(browser, "FreeU does not help here.")

    opened(runs)  # the list: a tree, whose trials are folded in
    unfold = "document.querySelector('button[data-component-id*=runnamecellrenderer]')"
    assert until(browser, unfold)
    assert "#02 b1 1.20" not in browser.execute_script("return document.body.innerText")
    browser.execute_script(f"{unfold}.click()")
    assert all(shown(browser, name) for name in ids)

    opened(f"{path}/model-metrics")
    assert all(shown(browser, name) for name in (*DIRECTIONS, "grid"))
    assert until(browser, "document.querySelectorAll('.js-plotly-plot').length >= 3")
    # A trial's grid, in the chart that slides through them; MLflow makes such pictures 256 pixels large.
    assert until(browser, "[...document.images].some((i) => i.src.includes('images%2Fgrid') && i.naturalWidth === 256)")

    opened(f"{path}/artifacts/front.html")
    assert shown(browser, "front_table.json")
    assert until(browser, "document.querySelector('iframe')")
    browser.switch_to.frame(browser.find_element("tag name", "iframe"))
    assert shown(browser, "The front of sunday")
    assert shown(browser, "clip (higher is better)")
    assert len(browser.find_elements("css selector", "[id^=front-].js-plotly-plot")) == 4
    assert shown(browser, "How the search went")
    browser.switch_to.default_content()

    child = next(run_id for name, run_id in ids.items() if name.startswith("#02"))
    opened(f"{runs}/{child}/artifacts/0002.png")
    # The grid: two images of 32 and a gap of 2.
    assert until(browser, "[...document.images].some((image) => image.naturalWidth === 66)")


def test_no_request_leaves_the_machine(server: tuple[subprocess.Popen[str], str], browser: Any) -> None:
    """Of all pages that the test before opened; chrome: is the browser's own empty tab."""
    home = server[1].split("#")[0]
    asked = requested(browser)
    assert any(url.startswith(home) for url in asked)
    assert {url for url in asked if not url.startswith((home, "data:", "blob:", "about:", "chrome"))} == set()


def test_a_busy_port_is_an_error_only_where_it_was_asked_for(
    mlruns: Path,
    server: tuple[subprocess.Popen[str], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} on 127.0.0.1 is in use"):
            local_server.free_port("127.0.0.1", port, ui.PORT)
        other = local_server.free_port("127.0.0.1", None, port)
        assert port < other < port + local_server.PORTS_TRIED
        assert f"taking {other}" in capsys.readouterr().err
    with pytest.raises(UserError, match="not an address of this machine"):
        local_server.free_port("203.0.113.1", None, ui.PORT)  # an address kept for documentation


def test_ctrl_c_ends_it_cleanly(server: tuple[subprocess.Popen[str], str]) -> None:
    """The last test of the file: it ends the server that the others look at."""
    process, page = server
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    port = int(re.findall(r":(\d+)/", page)[0])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0  # nobody listens any more


def test_other_machines_may_call_this_one_by_its_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-box")
    monkeypatch.setattr(socket, "getfqdn", lambda: "gpu-box.lan")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given: [(0, 0, 0, "", ("192.168.1.7", 0))])
    allowed = ui._names("0.0.0.0", 5099)

    def answered(host: str) -> bool:
        return any(fnmatch(host, each) for each in allowed)  # as MLflow matches them

    hosts = ("localhost:5099", "127.0.0.1:5099", "192.168.1.7:5099", "gpu-box:5099", "gpu-box.lan")
    assert all(map(answered, hosts))
    assert not any(map(answered, ("evil.com", "localhost.evil.com", "gpu-box.evil.com:5099", "127.evil.com", "*")))
    assert answered("[::1]:5099") and not answered("localhost:5098")
    for name in ("10.evil.com", "192.168.evil.com", "localhost:evil.com", "172.16.evil.com"):
        assert not answered(name)
        assert not any(fnmatch(name, each) for each in ui._names("127.0.0.1", 5099))


def test_without_a_study(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "search.ui", "--mlruns", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "holds no study" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_server_that_cannot_start_says_why(mlruns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui.sys, "executable", shutil.which("false"))
    with (
        pytest.raises(UserError, match="did not come up"),
        ui.serving(mlflow_settings(mlruns), "127.0.0.1", 5999),
    ):
        pass
