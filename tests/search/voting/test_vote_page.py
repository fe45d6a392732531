"""The vote page as people use it: by keyboard, by touch on a phone, loaded again, two voters at once, in the dark."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from search.storage import StudyFolder
from search.terminal import local_server
from search.vote import app
from search.voting.booth import Booth
from search.voting.server import serving
from tests.browser import axe_faults, chromium, requested, until
from tests.search import made
from tests.search.voting.people import booth

READY = "!document.getElementById('vote').hidden && !document.querySelector('.waiting')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


@contextmanager
def served(room: Booth, port: int | None = None) -> Iterator[str]:
    found = port or local_server.free_port("127.0.0.1", None, 5150)
    with serving(room, "127.0.0.1", found, local_server.names("127.0.0.1", found)):
        yield local_server.address("127.0.0.1", found)


@pytest.fixture
def room(tmp_path: Path) -> Booth:
    return booth(made.study(tmp_path, side=16, prompts=20))


def opened(browser: Any, page: str, *, dark: bool = False, phone: bool = False) -> None:
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    size = {"width": 390 if phone else 1400, "height": 844, "deviceScaleFactor": 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)
    assert until(browser, "[...document.querySelectorAll('main')].some((each) => !each.hidden)")


def started(browser: Any, page: str, voter: str, **how: bool) -> None:
    opened(browser, f"{page}?as={voter}", **how)
    browser.find_element("css selector", "#form button").click()
    assert until(browser, READY)


def press(browser: Any, key: str, ready: str = READY) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(key).perform()
    assert until(browser, ready)


def tap(browser: Any, selector: str) -> None:
    """With a finger, which rests a moment."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    actions = ActionBuilder(browser, mouse=PointerInput("touch", "finger"), duration=0)
    actions.pointer_action.move_to(browser.find_element("css selector", selector))
    actions.pointer_action.pointer_down()
    actions.pointer_action.pause(0.05)
    actions.pointer_action.pointer_up()
    actions.perform()


def sources(browser: Any) -> list[str]:
    return browser.execute_script("return ['left', 'right'].map((side) => document.getElementById(side).src)")


def choices(room: Booth, voter: str = "ann") -> list[str]:
    return [vote.choice for vote in room.ballots.read().of(voter)]


def test_by_keyboard(browser: Any, room: Booth) -> None:
    from selenium.webdriver.common.keys import Keys

    with served(room) as page:
        started(browser, page, "ann")
        first = sources(browser)
        press(browser, Keys.ARROW_LEFT)
        second = sources(browser)
        assert first != second and choices(room) == ["left"]
        press(browser, Keys.ARROW_DOWN)
        press(browser, Keys.ARROW_RIGHT)
        assert choices(room) == ["left", "tie", "right"]
        press(browser, Keys.BACKSPACE)
        press(browser, Keys.BACKSPACE)
        assert sources(browser) == second and choices(room) == ["left"]  # the pair that was taken back
        browser.refresh()
        assert until(browser, READY)
        assert sources(browser) == second
        press(browser, " ")
        shown = (
            "[...document.querySelectorAll('#stage figure')].map((each) => getComputedStyle(each).visibility).join()"
        )
        assert browser.execute_script(f"return {shown}") == "visible,hidden"
        press(browser, " ")
        assert browser.execute_script(f"return {shown}") == "hidden,visible"
        press(browser, Keys.ESCAPE)
        assert browser.execute_script(f"return {shown}") == "visible,visible"
        press(browser, "z")
        scales = "[...document.images].map((each) => new DOMMatrix(getComputedStyle(each).transform).a)"
        assert min(browser.execute_script(f"return {scales}")) >= 3
        press(browser, "p")
        assert browser.execute_script("return document.getElementById('prompt').hidden")
        press(browser, Keys.ARROW_LEFT)
        assert [vote.prompt_shown for vote in room.ballots.read().of("ann")] == [True, False]
        press(browser, "p")


def test_a_whole_session_by_touch(browser: Any, room: Booth) -> None:
    """To the last pair, then the result; each pair once, and a tenth of them mirrored."""
    with served(room) as page:
        started(browser, page, "ann", phone=True)
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390
        assert browser.execute_script("return document.documentElement.scrollHeight") <= 844  # no scrolling to vote
        sides = ("left", "tie", "right", "left")
        for i in range(43):
            tap(browser, f"[data-choice={sides[i % 4]}]")
            assert until(
                browser, f"{READY} && document.getElementById('progress').textContent.includes(', {i + 1} vote')"
            )
        tap(browser, "[data-choice=right]")
        assert until(browser, "!document.getElementById('pause').hidden")
        assert len(choices(room)) == 44 and len(set(room.ballots.read().votes)) == 44
        browser.find_element("id", "pause-undo").click()
        assert until(browser, READY)
        assert len(choices(room)) == 43
        tap(browser, "[data-choice=left]")
        assert until(browser, "!document.getElementById('pause').hidden")
        browser.find_element("id", "end").click()
        assert until(browser, "!document.getElementById('result').hidden")
        said = browser.find_element("id", "verdict").text
        assert said.startswith("By the metrics: FreeU trades here") and "By 1 voter (40 votes" in said
        assert axe_faults(browser) == []
        assert room.told()["repeats"] == 4
        opened(browser, f"{page}?as=ben&on")  # too late for others
        assert browser.find_element("id", "result").is_displayed()


def test_two_voters_at_once_and_a_kill_in_the_middle(browser: Any, room: Booth) -> None:
    """Two windows, of which each keeps its own votes; the server goes and comes back meanwhile."""
    from selenium.webdriver.common.keys import Keys

    one = browser.current_window_handle
    port = local_server.free_port("127.0.0.1", None, 5150)
    with served(room, port) as page:
        started(browser, page, "ann")
        browser.switch_to.new_window("window")
        two = browser.current_window_handle
        started(browser, page, "ben")
        for window in (one, two, one, two):
            browser.switch_to.window(window)
            press(browser, Keys.ARROW_LEFT)
    press(browser, Keys.ARROW_RIGHT, "document.getElementById('trouble').textContent.includes('not saved yet')")
    with served(booth(room.folder), port):
        assert until(browser, f"{READY} && document.getElementById('trouble').textContent === ''")
        assert choices(room, "ben") == ["left", "left", "right"]
        browser.switch_to.window(one)
        press(browser, Keys.ARROW_LEFT)
    browser.switch_to.window(two)
    browser.close()
    browser.switch_to.window(one)
    assert choices(room, "ann") == ["left"] * 3
    assert len(room.ballots.file.read_text().splitlines()) == 1 + 6  # the plan, and each vote once


@pytest.mark.parametrize(("dark", "phone"), [(False, False), (True, False), (True, True)])
def test_axe_finds_no_serious_fault(browser: Any, room: Booth, dark: bool, phone: bool) -> None:
    with served(room) as page:
        opened(browser, f"{page}?as=ann", dark=dark, phone=phone)
        assert axe_faults(browser) == []
        browser.find_element("css selector", "#form button").click()
        assert until(browser, READY)
        assert axe_faults(browser) == []


def test_no_request_elsewhere_and_no_error_in_all_of_this(browser: Any) -> None:
    """Of all pages before; that the server was away is the one error that was meant."""
    asked = {url for url in requested(browser) if not url.startswith(("data:", "about:", "chrome"))}
    assert asked and all(re.match(r"http://127\.0\.0\.1:51\d\d/", url) for url in asked)
    # A page does not learn from its addresses what an image shows.
    assert not any(name in url for url in asked for name in ("0001", "0002/", "baseline"))
    errors = [each["message"] for each in browser.get_log("browser") if each["level"] == "SEVERE"]
    assert [each for each in errors if "ERR_CONNECTION_REFUSED" not in each] == []


def answer(page: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(page.removeprefix("http://").rstrip("/"), timeout=600)
    content = json.dumps(body) if body is not None else None
    given = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, content, given)
    found = connection.getresponse()
    return found.status, json.loads(found.read() or b"{}")


def test_only_this_page_votes(room: Booth) -> None:
    token = room.state("ann")["card"]["token"]
    body = {"as": "ann", "card": token, "choice": "left"}
    with served(room) as page:
        assert answer(page, "GET", "/state?as=ann", Host="evil.com")[0] == 403
        port = page.rstrip("/").rpartition(":")[2]
        assert answer(page, "GET", "/state?as=ann", Host=f"LOCALHOST.:{port}")[0] == 200
        assert answer(page, "POST", "/vote", body, Origin="http://evil.com")[0] == 409
        assert answer(page, "POST", "/vote", body, Content_Type="text/plain")[0] == 409
        assert answer(page, "GET", "/../../etc/passwd")[0] == 404
        assert answer(page, "GET", "/image/..%2F..%2Fresult/left?as=ann")[0] == 409
        for wrong in ({"card": "none"}, {"choice": "both"}, {"as": ""}, {"as": "a\nb"}, {"as": "x" * 41}):
            status, said = answer(page, "POST", "/vote", body | wrong)
            assert status == 409 and said["error"]
        assert answer(page, "POST", "/vote", [1])[0] == 409
        assert room.ballots.read().votes == {}
        for _ in range(2):  # sent twice
            assert answer(page, "POST", "/vote", body | {"seconds": "x"}, Origin=page.rstrip("/"))[0] == 200
        assert choices(room) == ["left"]
        answer(page, "POST", "/undo", {"as": "ann", "card": "another"})
        assert choices(room) == ["left"]
        room.image("ann", room.state("ann")["card"]["token"], "left").unlink()
        status, said = answer(page, "POST", "/vote", body | {"card": room.state("ann")["card"]["token"]})
        assert status == 409 and "was deleted" in said["error"]


def run(folder: StudyFolder, *arguments: str) -> tuple[str, BaseException | None]:
    """(what it printed, the error that a person would read)."""
    given = ["--study", folder.name, "--mlruns", str(folder.root.parents[1]), *arguments]
    done = CliRunner().invoke(app, given)
    return done.stdout, done.exception


def test_the_command(room: Booth) -> None:
    """Killed in the middle it is as Ctrl-C: what was cast is there."""
    folder = room.folder
    command = [sys.executable, "-um", "search.vote", "--study", folder.name, "--mlruns", str(folder.root.parents[1])]
    process = subprocess.Popen([*command, "--no-browser", "--as", "ann"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(4)]
    assert (
        said[0]
        == "votes that show a true win rate: 60 % 236, 65 % 103, 70 % 57, for each of 2 comparisons; 111 are planned\n"
    )
    assert said[2] == "the images are of 20 prompts: one voter alone can't cast all planned votes, several can\n"
    address = re.search(r"http://\S+/", said[3])
    assert address is not None
    token = answer(address[0], "GET", "/state?as=ann")[1]["card"]["token"]
    assert answer(address[0], "POST", "/vote", {"as": "ann", "card": token, "choice": "tie"})[0] == 200
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert choices(room) == ["tie"]
    said, error = run(folder, "--end", "--as", "ben")
    assert error is None and "By 1 voter (1 vote, 1 tie among them as half)" in said
    assert json.loads(run(folder, "--json")[0])["votes"] == 1


def test_what_can_t_be_voted_on_is_told(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    for file in folder.root.glob("confirm/*/*.webp"):
        file.unlink()
        file.symlink_to(__file__)  # of a stranger's study, to any file of yours
    assert "has no held-out images" in str(run(folder)[1])
    for file in folder.root.glob("confirm/*/*.webp"):
        file.unlink()
    assert "has no held-out images" in str(run(folder)[1])
    for file in folder.root.glob("confirm/0*.parquet"):
        file.unlink()
    assert "no finalists to vote on" in str(run(folder)[1])
    folder.result.unlink()
    assert "is not finished" in str(run(folder)[1])


def test_nobody_has_voted(room: Booth) -> None:
    assert "nobody has voted" in str(run(room.folder, "--end")[1])
