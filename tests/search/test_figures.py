"""`python -m search.figures` from the model to the page: what is written, what is told, what MLflow holds."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn

from configs import UserError
from freeu import IDENTITY, presets
from metrics.stats import LEVEL, holm, paired
from search.analysis import passes
from search.analysis.passes import NONE, Runner
from search.figures import FEWEST, analyse
from search.settings.job import prepare
from search.settings.reading import load
from tests.browser import axe_faults, chromium, requested
from tests.kinds import KINDS
from tests.search.test_kinds import saved

LIMIT, STEPS = FEWEST, 3
FIGURES = [f"figure-{number}" for number in (2, 7, 8, 15, 5, 6, 12, 9)] + ["ranges"]


@dataclass
class Done:
    folder: Path
    said: str
    mlruns: Path


def done(mlruns: Path, **settings: Any) -> Done:
    console = Console(file=io.StringIO(), width=200)
    folder = analyse(load(None, {"limit": LIMIT, "steps": STEPS, "mlruns": mlruns, **settings}), console)
    return Done(folder, console.file.getvalue(), mlruns)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """On the embedded model, short: few prompts, few steps, small sweeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "B", (0.8, 1.4))
        patch.setattr(passes, "S", (0.6, 1.2))
        patch.setattr("search.analysis.ranges.B", (0.8, 1.4))
        patch.setattr("search.analysis.ranges.S", (0.6, 1.2))
        return done(tmp_path_factory.mktemp("figures"))


def test_every_figure_is_there_in_print_and_for_the_screen(shapes: Done) -> None:
    for name in FIGURES:
        with Image.open(shapes.folder / f"{name}.png") as picture:
            assert picture.width > 400
            pixels = np.asarray(picture.convert("RGB"))
        assert (pixels[0, 0] == 255).all() and pixels.std() > 10  # on white paper, and something on it
        root = ElementTree.parse(shapes.folder / f"{name}.svg").getroot()
        assert root.tag.endswith("svg") and root.findall(".//{http://www.w3.org/2000/svg}path")
    assert "wrote" in shapes.said and "Of 12 claims of the paper" in shapes.said


def test_the_data_are_there_and_fit_together(shapes: Done) -> None:
    data = {file.stem: pd.read_parquet(file) for file in shapes.folder.glob("*.parquet")}
    measured = data["passes"].set_index("pass")
    assert set(measured.index) >= {NONE, passes.OTHER_SEEDS, "FreeU", "b 0.8", "s 1.2", "version 1", "backbone alone"}
    assert measured.groupby("pass").size().eq(LIMIT).all()
    assert (measured.loc[NONE, "distance"] == 0).all() and (measured.loc["FreeU", "distance"] > 0).all()
    assert set(measured.loc[passes.OTHER_SEEDS, "seed"]) & set(measured.loc[NONE, "seed"]) == set()
    # A claim can be had again from its figure's data.
    shares = data["figure-7-shares"].query("`pass` == 'baseline'")
    skip = data["claims"].set_index("name").loc["skip"]
    assert (shares["skip"] - shares["backbone"]).mean() == pytest.approx(skip["mean"])
    steps = data["figure-2-steps"].query("`pass` == 'baseline'")
    assert len(steps) == LIMIT * STEPS
    moves = data["claims"].set_index("name").loc["latents"]
    assert (steps["high_change"] - steps["low_change"]).mean() == pytest.approx(moves["mean"])
    image = Image.open(io.BytesIO(data["figure-5-images"].iloc[0]["image"]))
    assert image.size == (64, 64)
    assert set(data["figure-8-maps"]["panel"].str.split().str[0]) == {"backbone", "skip"}


def test_the_ranges_are_a_space_for_the_search(shapes: Done) -> None:
    job = prepare(load(None, {"space": str(shapes.folder / "space.yaml"), "mlruns": shapes.mlruns, "version": "v1"}))
    assert [each.name for each in job.space.dimensions] == ["b1", "b2", "s1", "s2"]
    assert all(each.low < 1 < each.high for each in job.space.dimensions)
    assert job.space.fixed["version"] == "v2"
    assert str(shapes.folder / "space.yaml") in shapes.said


def test_mlflow_holds_the_same(shapes: Done) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{shapes.mlruns}/mlflow.db")
    (run,) = client.search_runs(["1"], "tags.`freeu.figures` = 'shapes'")
    claim = pd.read_parquet(shapes.folder / "claims.parquet").set_index("name").loc["skip"]
    assert run.data.metrics["skip.low"] == pytest.approx(claim["low"])
    assert run.data.params["seed"] == "0"
    assert run.info.status == "FINISHED"
    assert {each.path for each in client.list_artifacts(run.info.run_id)} == {
        each.name for each in shapes.folder.iterdir()
    }
    assert run.data.tags["mlflow.note.content"] in shapes.said


def test_the_page_asks_for_nothing_and_says_everything_in_words(shapes: Done) -> None:
    text = (shapes.folder / "index.html").read_text("utf-8")
    assert "<script" not in text and not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert len(re.findall(r'<img src="data:image/svg\+xml;base64,[^"]+" alt="[^"]{40,}">', text)) == len(FIGURES)
    for verdict in ("holds", "fails", "open"):
        assert verdict in text
    # Two sentences on each figure.
    for name in FIGURES:
        said = text.split(f'id="{name}"')[1].split("<p>")[1].split("</p>")[0]
        assert len(re.findall(r"\.(?= [A-Z]|$)", " ".join(said.split()))) == 2, said


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from chromium(tmp_path_factory.mktemp("profile"))


def test_the_page_in_a_browser_light_and_dark(browser: Any, shapes: Done) -> None:
    page = (shapes.folder / "index.html").as_uri()
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get(page)
        assert {url for url in requested(browser) if not url.startswith(("data:", "chrome"))} <= {page}
        assert browser.execute_script("return [...document.images].every((each) => each.naturalWidth > 0)")
        assert axe_faults(browser) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sdxl", "modelscope", "animatediff", "rerender", "svd"])
def test_every_kind(kind: str, tmp_path: Path) -> None:
    model = saved(KINDS[kind](tmp_path), tmp_path / "model.yaml")
    made = done(tmp_path / "mlruns", model=str(model))
    assert all((made.folder / f"{name}.png").exists() for name in FIGURES)


def test_too_few_prompts_are_told_before_anything_loads(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^{FEWEST - 1} prompts are too few .* {FEWEST} or more with --limit"):
        done(tmp_path, limit=FEWEST - 1)


def test_as_few_prompts_as_are_taken_can_tell_what_holds() -> None:
    """Where all agree, each of twelve claims holds after Holm's correction; with one prompt less none could."""
    for n, told in ((FEWEST, True), (FEWEST - 1, False)):
        p = paired(np.arange(1.0, n + 1), np.zeros(n), range(n), np.random.default_rng(0)).p
        assert (holm([p] * 12) < LEVEL).all() == told


def test_a_generator_of_ones_own_has_no_unet_to_look_into(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no hooks reach"):
        done(tmp_path, model="tests.own_generator:make_generator", prompts="shapes")


def test_a_unet_without_skips_or_with_unknown_blocks() -> None:
    for unet in (nn.Linear(2, 2), SimpleNamespace(up_blocks=[SimpleNamespace(resnets=[nn.Conv2d(1, 1, 1)])])):
        with pytest.raises(UserError, match="no skip concatenations that FreeU knows"):
            Runner(SimpleNamespace(name="mine", unet=unet), ["a"], [1], [2])


def test_a_preset_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    presets.write(presets.Preset(IDENTITY, "shapes"), file, "yaml")
    with pytest.raises(UserError, match="change nothing"):
        analyse(load(None, {"limit": LIMIT, "mlruns": tmp_path}), Console(file=io.StringIO()), from_file=file)


def test_factors_that_give_no_image_are_told_and_left_out() -> None:
    from freeu.generate import GenerationError

    class Black:
        name, unet, frames = "black", None, 1

        def generate(self, prompts: Any, seeds: Any, factors: Any, on_step: Any = None) -> torch.Tensor:
            raise GenerationError("black all over")

    runner = object.__new__(Runner)
    runner.generator, runner.prompts, runner.seeds = Black(), ("a",), (1,)
    found = SimpleNamespace(made={}, failed={})
    runner.add(found, "b 1.6", None)  # type: ignore[arg-type]
    assert found.failed == {"b 1.6": "black all over"} and not found.made
