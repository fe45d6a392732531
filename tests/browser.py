"""A headless Chromium for tests of pages, driven by selenium; tests are skipped where there is none."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


def chromium(profile: Path, *more: str) -> Iterator[Any]:
    """What a fixture yields from. profile: an empty folder. more: of the browser's arguments."""
    driver = shutil.which("chromedriver")
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or binary is None:
        pytest.skip("no chromium and chromedriver on the path (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    usual = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}")
    for argument in (*usual, "--window-size=1600,1200", *more):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def requested(browser: Any) -> set[str]:
    """The addresses of all that the pages asked for since this was last called."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return {one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"}


def until(browser: Any, condition: str, seconds: float = 600) -> bool:
    """Whether a JavaScript expression comes to hold within the time."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if browser.execute_script(f"return Boolean({condition})"):
            return True
        time.sleep(0.1)
    return False


def axe_faults(browser: Any) -> list[str]:
    """What axe-core calls a serious or critical fault of the page as it stands."""
    package = find_spec("axe_playwright_python")  # read, not imported: that would want a browser of its own
    if package is None or package.origin is None:
        pytest.skip("no axe-core: it comes with the package axe-playwright-python, of the extra 'dev'")
    browser.execute_script((Path(package.origin).parent / "axe.min.js").read_text("utf-8"))
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    assert len(found["passes"]) > 10  # it did look
    return [
        f"{fault['id']} ({fault['impact']}): {node['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
