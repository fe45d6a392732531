"""The pictures of the guide, from a study on this machine: `python docs/screenshots.py --study NAME`.

Needs chromium and chromedriver on the path, and the extra `dev`. Opens MLflow's pages and the report as a person would.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import typer

from search.records import StudyFolder
from search.store import settings as mlflow_settings
from tests.browser import chromium, until

IMAGES = Path(__file__).parent / "images"
WIDTH, HEIGHT = 1280, 860


def main(
    study: Annotated[str, typer.Option(help="A finished study.")] = "shapes",
    mlruns: Annotated[Path, typer.Option(help="The results folder.")] = Path("mlruns"),
) -> None:
    """Write docs/images/guide-*.png."""
    subprocess.run([sys.executable, "-m", "search.report", "--study", study, "--mlruns", str(mlruns)], check=True)
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "search.ui", "--mlruns", str(mlruns)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None
        with tempfile.TemporaryDirectory() as profile:
            for browser in chromium(Path(profile), f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars"):
                mlflow(browser, address[0], study, mlruns)
                report(browser, StudyFolder(mlruns, study).root / "report.html")
    finally:
        server.terminate()
        server.wait()


def mlflow(browser: Any, page: str, study: str, mlruns: Path) -> None:
    """The list of runs, and the study's own charts."""
    from mlflow import MlflowClient

    runs = MlflowClient(tracking_uri=mlflow_settings(mlruns).uri).search_runs(["1"])
    run = next(each.info.run_id for each in runs if each.info.run_name == study)
    taken(browser, page, f"document.body.innerText.includes('{study}')", "guide-runs")
    taken(
        browser, page.removesuffix("/runs") + f"/runs/{run}/model-metrics", "document.querySelector('.js-plotly-plot')",
        "guide-study",
    )  # fmt: skip


def report(browser: Any, page: Path) -> None:
    """The top of the report, and the front."""
    drawn = "document.querySelectorAll('.plot:not([data-drawn])').length == 0"
    taken(browser, page.as_uri(), drawn, "guide-report")
    browser.execute_script("document.querySelector('#front').scrollIntoView({behavior: 'instant'})")
    until(browser, "document.querySelectorAll('#front .js-plotly-plot').length")
    shot(browser, "guide-front")


def taken(browser: Any, page: str, ready: str, name: str) -> None:
    """Open a page, wait until a condition holds, and keep what is seen."""
    browser.get("about:blank")
    browser.get(page)
    if not until(browser, ready):
        raise SystemExit(f"{page} did not come up: no {name}")
    shot(browser, name)


def shot(browser: Any, name: str) -> None:
    """What the window shows, in few colours: a picture of a page needs no more."""
    import io
    import time

    from PIL import Image

    time.sleep(2)  # what is drawn last
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture.quantize(128).save(IMAGES / f"{name}.png", optimize=True)
    print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    typer.run(main)
