"""`python -m search.ui` as a person meets it: ports, addresses, Ctrl-C, the pages in a headless browser."""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from configs import UserError
from freeu import IDENTITY, Factors
from search import ui
from search.storage import TrialRecord, Value
from search.storage.image_grid import save_grid
from search.storage.mlflow_location import mlflow_settings
from search.terminal import local_server
from search.tracking import Tracker
from tests.browser import chromium, requested, until

ROOT = Path(__file__).parents[2]
DIRECTIONS = {"clip": "up", "aesthetic": "up", "fid": "down"}


SCROLLED = """(() => {
    const found = [...document.querySelectorAll('h4, h3, span, div')].find((e) => e.innerText?.trim() === '%s');
    if (found) { found.scrollIntoView(); return true; }
    for (const e of document.querySelectorAll('*'))
        if (e.scrollHeight > e.clientHeight + 50 && /auto|scroll/.test(getComputedStyle(e).overflowY))
            e.scrollTop = (e.scrollTop + 300) %% e.scrollHeight;
})()"""
"""Whether a chart of that title is in view; else the page is scrolled a little."""


@pytest.fixture(scope="module")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of three trials."""
    folder = tmp_path_factory.mktemp("ui") / "mlruns"
    tracker = Tracker(folder, "sunday")
    tracker.start({"model": "shapes"}, "fingerprint", {}, directions=DIRECTIONS)
    records = []
    for number in range(3):
        values = {name: Value(number + 0.25, 0.1, 4, way) for name, way in DIRECTIONS.items()}
        factors = Factors(1 + number / 10, 1.2, 0.9, 0.2) if number else IDENTITY
        records.append(TrialRecord(number, factors, "sobol", "COMPLETE", values, {"total": 1.0}, 4, 160, None))
        grid = folder / f"{number:04d}.png"
        save_grid(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), grid)
        difference = Image.new("RGB", (66, 32)) if number else None
        tracker.trial(records[-1], grid, None, difference=difference, base=records[0])
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


def shown(browser: Any, text: str, seconds: float = 600) -> bool:
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


def column(browser: Any, name: str) -> list[str]:
    """The cells of a column of the list of runs, from the top, by its id."""
    script = """
        return [...document.querySelectorAll(`[role=gridcell][col-id="${CSS.escape(arguments[0])}"]`)]
            .sort((a, b) => a.closest('[row-index]').getAttribute('row-index')
                - b.closest('[row-index]').getAttribute('row-index'))
            .map((cell) => cell.innerText.trim())"""
    return [str(text) for text in browser.execute_script(script, name)]


def test_the_pages_show_the_study(mlruns: Path, server: tuple[subprocess.Popen[str], str], browser: Any) -> None:
    _, page = server
    ids = run_ids(mlruns)
    runs = page.split("?")[0]
    assert page.endswith("/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=freeu-sunday")
    browser.get(page)  # its panel for an assistant, which opens the first time, would hide columns
    browser.execute_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")

    def opened(address: str, question: str = "workflowType=machine_learning") -> None:
        browser.get("about:blank")  # else the app keeps what was selected before
        browser.get(f"{address}?{question}")

    opened(*page.split("?"))  # the list: the study, its front, the other trials, with what they were made with
    assert set(ids) == {"sunday", "#00 baseline", "#01 1.10 1.20 0.90 0.20", "#02 knee"}
    assert all(shown(browser, name) for name in ids)
    assert "shared view state" not in browser.execute_script("return document.body.innerText")
    assert until(browser, "document.querySelectorAll('[col-id*=freeu]').length > 4")
    assert [text[:4] for text in column(browser, "metrics.`clip`")] == ["2.25", "2.25", "1.25", "0.25"]
    assert column(browser, "params.`b1`") == ["-", "1.2", "1.1", "1.0"]
    assert column(browser, "tags.`freeu.front`") == ["-", "yes", "no", "no"]

    opened(runs, page.split("?")[1] + "&compareRunsMode=CHART")
    assert all(shown(browser, f"{x} vs. {y}") for x, y in combinations(DIRECTIONS, 2)), "the front, two by two"
    assert all(
        shown(browser, f"{factor} vs. clip") for factor in ("b1", "b2", "s1")
    )  # s2 is drawn once it comes into view
    assert until(browser, "document.querySelectorAll('.js-plotly-plot').length >= 6")

    opened(f"{runs}/{ids['sunday']}")
    assert shown(browser, "FreeU does not help here.")

    opened(f"{runs}/{ids['sunday']}/model-metrics")
    assert all(shown(browser, name) for name in DIRECTIONS)
    assert until(browser, "document.querySelectorAll('.js-plotly-plot').length >= 3")
    assert until(browser, SCROLLED % "grid")  # charts are drawn once they come into view
    # A trial's grid, in the chart that slides through them; MLflow makes such pictures 256 pixels large.
    assert until(browser, "[...document.images].some((i) => i.src.includes('images%2Fgrid') && i.naturalWidth === 256)")
    assert until(browser, SCROLLED % "difference")
    # The other slider opens at step 0, where the baseline has none: at a trial that has a difference.
    opening = "decodeURIComponent(i.src).replaceAll('%2B', '+').includes('difference+step+0')"
    assert until(browser, f"[...document.images].some((i) => {opening} && i.naturalWidth > 0)")

    opened(f"{runs}/{ids['sunday']}/artifacts/front_table.json")
    for text in ("trial", "picks", "b1", "knee", "1.2"):
        assert shown(browser, text), text

    opened(f"{runs}/{ids['sunday']}/artifacts/front.html")
    assert shown(browser, "front_table.json")
    assert until(browser, "document.querySelector('iframe')")
    browser.switch_to.frame(browser.find_element("tag name", "iframe"))
    assert shown(browser, "The front of sunday")
    assert shown(browser, "clip (higher is better)")
    assert len(browser.find_elements("css selector", "[id^=front-].js-plotly-plot")) == 4
    assert shown(browser, "How the search went")
    browser.switch_to.default_content()

    opened(f"{runs}/{ids['#02 knee']}")
    assert shown(browser, "Minus the baseline: clip +2")
    opened(f"{runs}/{ids['#02 knee']}/artifacts/0002.png")
    # The grid: two images of 32 and a gap of 2.
    assert until(browser, "[...document.images].some((image) => image.naturalWidth === 66)")
    # MLflow asks who is there, which a server without accounts does not know; charts that resize as others are drawn
    # make Chromium say the other one. Nothing is drawn from what is no number.
    mlflow_s = ("users/current", "ResizeObserver loop completed with undelivered notifications")
    failed = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [each for each in failed if not any(known in each for known in mlflow_s)] == []


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
    from mlflow.server.security_utils import is_allowed_host_header

    monkeypatch.setattr(socket, "gethostname", lambda: "GPU-box")
    monkeypatch.setattr(socket, "getfqdn", lambda: "gpu-box.lan")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *given: [(0, 0, 0, "", ("192.168.1.7", 0))])
    allowed = local_server.names("0.0.0.0", 5099)

    def answered(host: str) -> bool:
        return is_allowed_host_header(allowed, host)

    hosts = ("localhost:5099", "127.0.0.1:5099", "192.168.1.7:5099", "gpu-box:5099", "GPU-box:5099", "gpu-box.lan")
    assert all(map(answered, hosts))
    assert all(map(answered, ("[::1]:5099", "localhost.", "localhost.:5099", "gpu-box.lan.:5099")))
    strangers = ("evil.com", "localhost.evil.com", "gpu-box.evil.com:5099", "127.evil.com", "*", "", "localhost:5098")
    nearly = ("127.0.0.1.", "localhost..", "LOCALHOST:5099", "localhost.:", "::1", "[::1].", ".localhost")
    assert not any(map(answered, (*strangers, *nearly)))
    for name in ("10.evil.com", "192.168.evil.com", "localhost:evil.com", "172.16.evil.com"):
        assert not answered(name)
        assert not is_allowed_host_header(local_server.names("127.0.0.1", 5099), name)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_server_answers_to_its_names_alone(host: str, mlruns: Path) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("no IPv6 here")
    port = local_server.free_port(host, None, ui.PORT + 40)
    with ui.serving(mlflow_settings(mlruns), host, port):

        def status(name: str) -> int:
            connection = http.client.HTTPConnection(host, port, timeout=60)
            connection.request("GET", "/", headers={"Host": name})
            return connection.getresponse().status

        for name in (f"localhost:{port}", f"localhost.:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
            assert status(name) == 200, name
        for name in (f"LOCALHOST:{port}", f"10.evil.com:{port}", "localhost:evil.com", "localhost.evil.com"):
            assert status(name) == 403, name


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("::1", 9)) == errno.ECONNREFUSED


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
