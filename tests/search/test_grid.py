"""`python -m search.grid`: axes as people write them, the baseline in the corner, scores under the tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from configs import UserError
from freeu import IDENTITY, Factors
from search.analysis.factor_grid import Axis, around, axis, candidates, draw
from search.grid import app
from tests.search import made


def test_axes() -> None:
    assert axis("b1=1:1.6:4", "--x") == Axis("b1", (1.0, 1.2, 1.4, 1.6))
    assert axis("s2 = 0.2, 1", "--y") == Axis("s2", (0.2, 1.0))
    assert axis("b2=1.3:9:1", "--y") == Axis("b2", (1.3,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b1", "expected a factor"),
        ("b1=", "expected a factor"),
        ("b1=1:2", "expected a factor"),
        ("b1=1:x:3", "expected a factor"),
        ("b9=1", "did you mean"),
        ("b1=1:2:0", "1 to 20 values"),
        ("b1=1:2:99", "1 to 20 values"),
        ("b1=-1", "from 0 on"),
        ("b1=nan", "from 0 on"),
    ],
)
def test_what_is_no_axis(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        axis(text, "--x")


def test_a_neighbourhood_has_the_candidate_in_the_middle() -> None:
    found = around("s1", Factors(1.1, 1.2, 0.9, 0.1))
    assert found.values == (0.7, 0.8, 0.9, 1.0, 1.1)
    assert around("s2", Factors(1.1, 1.2, 0.9, 0.1)).values == (0.0, 0.05, 0.1, 0.15, 0.2)


def test_the_baseline_comes_first_then_row_by_row() -> None:
    rest = Factors(1.1, 1.2, 0.9, 0.8)
    found = candidates(Axis("b1", (1.0, 1.5)), Axis("s2", (0.5, 0.6)), rest)
    assert found[0] == IDENTITY
    assert [(each.b1, each.s2) for each in found[1:]] == [(1.0, 0.5), (1.5, 0.5), (1.0, 0.6), (1.5, 0.6)]
    assert {(each.b2, each.s1) for each in found[1:]} == {(1.2, 0.9)}
    with pytest.raises(UserError, match="both b1"):
        candidates(Axis("b1", (1.0,)), Axis("b1", (1.0,)), rest)


@pytest.mark.parametrize("frames", [None, 3])
def test_every_tile_is_where_its_factors_say(frames: int | None) -> None:
    """Each in a grey of its own, found again in the picture, from left to right and from top to bottom."""
    x, y = Axis("b1", (1.0, 1.2, 1.4)), Axis("s1", (0.2, 0.6))
    greys = torch.arange(7, dtype=torch.uint8) * 20 + 40
    shape = (7, 3, 16, 24) if frames is None else (7, frames, 3, 16, 24)
    images = greys.view(-1, *[1] * (len(shape) - 1)).expand(shape)
    picture = np.asarray(draw(images, x, y, "a " * 500, [{"clip": float(i)} for i in range(7)], 48))
    places = {}
    for i, grey in enumerate(greys.tolist()):
        rows, columns = np.nonzero((picture == grey).all(2))
        whole = (rows.min(), columns.min(), rows.max() - rows.min() + 1, columns.max() - columns.min() + 1)
        assert (picture[whole[0] : whole[0] + 32, whole[1] : whole[1] + 48] == grey).all()
        places[i] = whole[:2]
    assert places[0][0] < places[1][0] and places[0][1] < places[1][1]  # the corner
    assert places[1][0] == places[2][0] == places[3][0] < places[4][0] == places[6][0]
    assert places[1][1] == places[4][1] < places[2][1] == places[5][1] < places[3][1]


def test_round_a_pick_of_a_study(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8, trials=4)
    with folder.config.open("a") as stream:
        stream.write("judges: [objects]\n")  # they read prompts of the set alone, and a grid none of them
    out = tmp_path / "it.png"
    where = ["--study", folder.name, "--mlruns", str(tmp_path), "--objectives", "clip", "--steps", "1"]
    few = ["--x", "b1=1,1.4", "--y", "s1=0.5", "--prompt", "a red circle"]
    done = CliRunner().invoke(app, [*where, *few, "--pick", "knee", "--out", str(out)])
    assert done.exit_code == 0, done.exception
    assert "3 images of 1 prompt\n" in done.stdout
    with Image.open(out) as picture:
        assert picture.size[0] > 2 * 256
    for arguments, said in (
        (["--pick", "kne"], "did you mean 'knee'"),
        (["--out", f"{tmp_path}/it.jpg"], "a grid is a PNG"),
        (["--pick", "knee", "--from", "a.yaml"], "give either --pick knee or --from a.yaml"),
        (["--study", "none", "--pick", "knee"], "has no 'none'"),
    ):
        error = CliRunner().invoke(app, [*where, *few, *arguments]).exception
        assert isinstance(error, UserError) and said in str(error)
