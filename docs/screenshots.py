"""The pictures of the guide, from a study on this machine: `python docs/screenshots.py --study NAME`.

Needs chromium and chromedriver on the path, and the extra `dev`. Opens MLflow's pages and the report as a person would.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import typer

from search.storage.study_folder import StudyFolder
from search.terminal import local_server
from search.voting.asking import PORT
from search.voting.booth import Booth
from search.voting.server import serving
from tests.browser import chromium, until

if TYPE_CHECKING:
    from PIL import Image

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1280, 960
PHONE = 390, 844
COLOURS, REFINED = 256, 3  # a picture of a page needs no more; rounds of k-means
GRID = (
    *("--pick", "knee", "--x", "b1=1:1.6:4", "--y", "s1=0.2:1:4", "--side", "128", "--objectives", "clip,aesthetic"),
    *("--prompt", "a big spotted red circle on a dark checkered background"),
)
UNASKED = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"  # MLflow's pages open a panel for it the first time


def main(
    study: Annotated[str, typer.Option(help="A finished study.")] = "shapes",
    mlruns: Annotated[Path, typer.Option(help="The results folder.")] = Path("mlruns"),
) -> None:
    """Write docs/images/guide-*.png."""
    where = ["--study", study, "--mlruns", str(mlruns)]
    subprocess.run([sys.executable, "-m", "search.report", *where], check=True)
    command = [sys.executable, "-u", "-m", "search.ui", "--no-browser", *where]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    drawn_in_software = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # the plot in 3-D
    size = (f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars")
    try:
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None
        with (
            tempfile.TemporaryDirectory() as profile,
            contextmanager(chromium)(Path(profile), *size, *drawn_in_software) as browser,
        ):
            mlflow(browser, address[0], study)
            folder = StudyFolder(mlruns, study)
            report(browser, folder.root / "report.html")
            vote(browser, folder)
    finally:
        server.terminate()
        server.wait()
    grid(where)


def mlflow(browser: Any, page: str, study: str) -> None:
    """The list of the study's trials, and its own charts. page: the list."""
    question = page.split("?")[1]
    browser.get(page)
    browser.execute_script(f"localStorage.setItem('{UNASKED}', 'true')")
    link = f"[...document.querySelectorAll('a')].find((each) => each.innerText.trim() === '{study}')"
    opened(browser, page, link)
    shot(browser, "guide-runs")
    run = browser.execute_script(f"return {link}.href").split("?")[0]
    charts = f"{run}/model-metrics?{question.partition('&')[0]}"
    opened(browser, charts, "document.querySelectorAll('.js-plotly-plot').length > 2")
    shot(browser, "guide-study")


def report(browser: Any, page: Path) -> None:
    """The top of the report, a pair enlarged, and the front."""
    opened(browser, page.absolute().as_uri(), "document.querySelector('.plot[data-drawn]')")
    shot(browser, "guide-report")
    browser.execute_script("document.querySelector('.pair').click()")
    shot(browser, "guide-lightbox")
    browser.execute_script("document.getElementById('lightbox').close()")
    browser.execute_script("document.querySelector('#front').scrollIntoView({behavior: 'instant'})")
    shot(browser, "guide-front")


def vote(browser: Any, folder: StudyFolder) -> None:
    """A pair to vote on; then both pages on a phone. The votes of the study stay as they are: it is a copy's page."""
    with tempfile.TemporaryDirectory() as place:
        copy = StudyFolder(Path(place), folder.name)
        shutil.copytree(folder.root, copy.root, ignore=shutil.ignore_patterns("votes.jsonl", "lock"))
        result = copy.read_result()
        assert result is not None
        port = local_server.free_port("127.0.0.1", None, PORT)
        with serving(Booth(copy, result), "127.0.0.1", port, local_server.names("127.0.0.1", port)):
            page = f"{local_server.address('127.0.0.1', port)}?as=ann&on"
            opened(browser, page, "!document.getElementById('vote').hidden")
            shot(browser, "guide-vote")
            dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
            size = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1.5, "mobile": True}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            opened(browser, page, "!document.getElementById('vote').hidden")
            below = window(browser)
            opened(
                browser,
                (folder.root / "report.html").absolute().as_uri(),
                "document.querySelector('.plot[data-drawn]')",
            )
            keep(
                beside([window(browser), scrolled(browser, "#four"), scrolled(browser, "#picks"), below]), "guide-phone"
            )


def scrolled(browser: Any, to: str) -> Image.Image:
    """What the window shows of a section."""
    browser.execute_script(f"document.querySelector('{to}').scrollIntoView({{behavior: 'instant'}})")
    return window(browser)


def grid(where: list[str]) -> None:
    """A grid over b1 and s1, the rest as in the knee."""
    from PIL import Image

    command = [sys.executable, "-m", "search.grid", *where, *GRID]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    file = re.search(r"wrote (.*\.png)", said)
    assert file is not None, said
    keep(Image.open(file[1]), "guide-grid")


def opened(browser: Any, page: str, ready: str) -> None:
    """Open a page, and wait until a condition holds."""
    browser.get("about:blank")  # else another fragment is no other page
    browser.get(page)
    if not until(browser, ready, 180):
        raise SystemExit(f"{page} did not come up")


def shot(browser: Any, name: str) -> None:
    """Keep what the window shows."""
    keep(window(browser), name)


def window(browser: Any) -> Image.Image:
    """What the window shows."""
    from PIL import Image

    time.sleep(4)  # for what is drawn last
    return Image.open(io.BytesIO(browser.get_screenshot_as_png()))


def beside(pictures: list[Image.Image]) -> Image.Image:
    """One to the right of the other, with some room."""
    from PIL import Image

    width, height = pictures[0].size
    room = width // 20
    whole = Image.new("RGB", (len(pictures) * (width + room) - room, height), "white")
    for place, picture in enumerate(pictures):
        whole.paste(picture, (place * (width + room), 0))
    return whole


def keep(picture: Image.Image, name: str) -> None:
    """Write it to docs/images/."""
    from PIL import Image

    few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, REFINED, dither=Image.Dither.NONE)
    few.save(IMAGES / f"{name}.png", optimize=True)
    print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    typer.run(main)
