"""`python -m metrics.score` on folders of true renders and spoilt ones, with the embedded model's encoders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from configs import UserError, path, read_yaml
from freeu.shapes.caption import caption
from freeu.shapes.draw import draw
from freeu.shapes.scene import sample
from metrics import METRICS
from metrics.score import app

N = 20


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sharp/ and blurred/, with prompts.txt in their order."""
    root = tmp_path_factory.mktemp("scored")
    rng = np.random.default_rng(1)
    scenes = [sample(rng, False) for _ in range(N)]
    for name in ("sharp", "blurred"):
        (root / name).mkdir()
    for i, scene in enumerate(scenes):
        picture = Image.fromarray(draw(scene))
        picture.save(root / "sharp" / f"{i}.png")
        picture.filter(ImageFilter.GaussianBlur(1.5)).save(root / "blurred" / f"{i}.png")
    captions = [caption(scene, rng) for scene in scenes]
    (root / "prompts.txt").write_text("\n".join(captions))
    names = [f"{i}.png" for i in range(N)]
    pd.DataFrame({"image": names, "prompt": captions}).sample(frac=1, random_state=0).to_csv(
        root / "prompts.csv", index=False
    )
    (root / "wrong.txt").write_text("\n".join(captions[1:] + captions[:1]))
    return root


def scored(*arguments: object) -> list[dict]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_scores_of_a_folder(folders: Path) -> None:
    options = ["--scorers", "shapes", "--metrics", "clip,aesthetic,fid,kid,cmmd,sharpness"]
    rows = {row["metric"]: row for row in scored(folders / "sharp", "--prompts", folders / "prompts.txt", *options)}
    assert list(rows) == ["clip", "aesthetic", "fid", "kid", "cmmd", "sharpness"]
    assert all(row["n"] == N and np.isfinite(row["value"]) for row in rows.values())
    assert (
        rows["clip"]["better"] == "higher" and rows["kid"]["better"] == "lower" and rows["sharpness"]["better"] is None
    )
    # true renders: the unbiased distances to others of their kind are about 0
    assert abs(rows["kid"]["value"]) < 4 * rows["kid"]["standard_error"]
    assert abs(rows["cmmd"]["value"]) < 4 * rows["cmmd"]["standard_error"]


def test_clip_prefers_the_true_caption_and_order_is_that_of_the_names(folders: Path) -> None:
    def clip(prompts: str) -> float:
        return scored(folders / "sharp", "--prompts", folders / prompts, "--scorers", "shapes", "--metrics", "clip")[0][
            "value"
        ]

    assert clip("prompts.txt") == clip("prompts.csv") > clip("wrong.txt") + 10


def test_two_folders_in_pairs(folders: Path, tmp_path: Path) -> None:
    options = ["--scorers", "shapes", "--metrics", "clip,fid,sharpness", "--out", tmp_path / "each.parquet"]
    (tmp_path / f".{7:032x}.part").write_text("left by a killed process")
    rows = scored(folders / "blurred", "--base", folders / "sharp", "--prompts", folders / "prompts.txt", *options)
    found = {row["metric"]: row for row in rows}
    assert found["sharpness"]["high"] < 0 and found["sharpness"]["win_rate"] is None  # neither is the better
    assert found["fid"]["difference"] > 0 and found["fid"]["win_rate"] is None
    for row in rows:
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["difference"] == pytest.approx(row["value"] - row["base"])
    assert found["sharpness"]["p_holm"] < 0.01
    assert [file.name for file in tmp_path.iterdir()] == ["each.parquet"]
    each = pd.read_parquet(tmp_path / "each.parquet")
    assert list(each.columns) == ["image", "prompt", "clip", "sharpness"] and each["image"].tolist()[2] == "2.png"
    assert each["sharpness"].mean() == pytest.approx(found["sharpness"]["value"])


def test_an_image_is_the_same_to_itself(folders: Path) -> None:
    row = scored(folders / "sharp", "--base", folders / "sharp", "--scorers", "shapes", "--metrics", "aesthetic")[0]
    assert (row["difference"], row["low"], row["high"], row["win_rate"], row["p_holm"]) == (0, 0, 0, 0.5, 1)


def test_the_list_and_the_table_are_readable(folders: Path) -> None:
    listed = CliRunner().invoke(app, ["--list"])
    assert listed.exit_code == 0 and "fd_dinov2" in listed.stdout and "higher" in listed.stdout
    assert "agrees with people" in listed.stdout and "0.87" in listed.stdout
    table = CliRunner().invoke(app, [str(folders / "sharp"), "--metrics", "luma,contrast"])
    assert table.exit_code == 0 and "contrast" in table.stdout and "±" in table.stdout


def test_what_is_known_of_each_metric_is_in_the_docs() -> None:
    known = read_yaml(path("metrics.yaml"))
    assert set(known) == {name for name, info in METRICS.items() if info.direction != "none"} | {"drift"}
    page = Path("docs/metrics.md").read_text()
    for name, told in known.items():
        assert f"| `{name}` | {told['people']} | {told['cost']} | {told['fails']} |" in page


def test_a_metric_of_ones_own(folders: Path) -> None:
    rows = scored(folders / "sharp", "--metrics", "tests.own_metric:Redness")
    assert rows[0]["metric"] == "Redness" and rows[0]["n"] == N and 0 < rows[0]["value"] < 255


def test_wins_are_those_of_the_better_side(folders: Path, tmp_path: Path) -> None:
    """Of a metric of which less is better, the darker image wins."""
    for name, level in (("dark", 10), ("bright", 200)):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.new("RGB", (8, 8), (level + i, 0, 0)).save(tmp_path / name / f"{i}.png")
    options = ["--base", tmp_path / "bright", "--metrics"]
    dark = {
        metric: scored(tmp_path / "dark", *options, f"tests.own_metric:{metric}")[0] for metric in ("Redness", "Calm")
    }
    assert (dark["Redness"]["better"], dark["Redness"]["win_rate"]) == ("higher", 0)
    assert (dark["Calm"]["better"], dark["Calm"]["win_rate"]) == ("lower", 1)


def damaged(root: Path) -> Path:
    folder = root / "damaged"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    (folder / "2.png").write_bytes(b"no picture")
    (folder / "3.png").mkdir()  # no file, so no image
    return folder


def mixed(root: Path) -> Path:
    folder = root / "mixed"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    Image.new("RGB", (9, 8)).save(folder / "2.png")
    return folder


def empty(root: Path) -> Path:
    (root / "empty").mkdir()
    return root / "empty"


def tiny(root: Path) -> Path:
    folder = root / "tiny"
    folder.mkdir()
    Image.new("RGB", (7, 9)).save(folder / "1.png")
    return folder


def animated(root: Path) -> Path:
    folder = root / "animated"
    folder.mkdir()
    first, second = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "red")
    first.save(folder / "1.webp", save_all=True, append_images=[second])
    return folder


def of_phone(root: Path) -> Path:
    folder = root / "phone"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    (folder / "2.heic").write_bytes(b"?")
    return folder


@pytest.mark.parametrize(("images", "options", "said"), [
    (empty, ["--metrics", "luma"], "empty holds no images"),
    (damaged, ["--metrics", "luma"], "2.png can't be read"),
    (mixed, ["--metrics", "luma"], "2.png is 9×8 and not 8×8 as 1.png"),
    (animated, ["--metrics", "luma"], "1.webp can't be read: it holds several frames"),
    (of_phone, ["--metrics", "luma"], "2.heic can't be read: save it as PNG"),
    (lambda root: root / "none", ["--metrics", "luma"], "none is no folder"),
    ("sharp", ["--metrics", "lumma"], "did you mean 'luma'"),
    ("sharp", ["--metrics", ""], "--metrics is empty"),
    ("sharp", ["--metrics", "clip"], "give --prompts"),
    ("sharp", ["--metrics", "tests.own_metric:Nothing"], "can't be had"),
    ("sharp", ["--metrics", "tests.own_metric:N"], "expected a class"),
    ("sharp", ["--metrics", "sharpness", "--device", "gpu"], "did you mean 'cuda'"),
    ("sharp", ["--metrics", "sharpness", "--device", "cuda:99"], "this machine has no device 'cuda:99'"),
    ("sharp", ["--metrics", "luma", "--base", "{empty}"], "holds no images"),
    ("sharp", ["--metrics", "luma", "--scorers", "shaeps"], "did you mean 'shapes'"),
    ("sharp", ["--metrics", "luma", "--out", "x.xlsx"], ".csv and .parquet are written"),
    ("sharp", ["--metrics", "luma", "--out", "{folder}"], "x.csv is a folder: name a file in it"),
    ("sharp", ["--metrics", "luma", "--out", "/no/such/x.csv"], "there is no folder /no/such"),
    ("sharp", ["--metrics", "kid", "--scorers", "shapes", "--reference", "/no/such"], "no such folder of images"),
    (mixed, ["--metrics", "kid", "--scorers", "shapes"], "kid needs at least 16 images, found 2"),
    (tiny, ["--metrics", "sharpness"], "sharpness needs images of at least 8×8 pixels, and these are 7×9"),
    (tiny, ["--metrics", "spectral_slope"], "spectral_slope needs images of at least 8×8"),
    ("prompts.txt", ["--metrics", "luma"], "prompts.txt is no folder of images"),
    ("sharp", ["--metrics", "luma", "--prompts", ""], "--prompts is empty: give a path"),
    ("sharp", ["--metrics", "luma", "--base", " "], "--base is empty: give a path"),
    ("sharp", ["--metrics", "luma", "--reference", ""], "--reference is empty"),
    ("sharp", ["--metrics", "luma", "--out", ""], "--out is empty: give a path"),
    ("sharp", ["--metrics", "luma", "--prompts", "/no/such.txt"], "can't read /no/such.txt"),
    ("sharp", ["--metrics", "luma", "--device", "gpu"], "unknown device 'gpu'"),
    ("sharp", ["--metrics", "luma", "--device", "cpu:x"], "unknown device 'cpu:x'"),
    ("sharp", ["--metrics", "luma", "--device", "cuda:99"], "this machine has no device 'cuda:99'"),
    ("sharp", ["--metrics", "drift", "--scorers", "shapes"], "give them with --base FOLDER"),
    ("sharp", ["--metrics", "consistency", "--scorers", "shapes"], "consistency compares the frames of a video"),
    ("sharp", ["--metrics", "fid", "--scorers", "{scorers: [1]}"], "scorers is [1]: 'key: value' lines"),
    ("sharp", ["--metrics", "fid", "--scorers", "{reference: 7}"], "reference is 7: 'key: value' lines"),
    ("sharp", ["--metrics", "fid", "--scorers", "{scorers: {fid: 3}}"], "the scorer 'fid' is 3"),
    ("sharp", ["--metrics", "fid", "--scorers", "{scorers: {fid: {encoder: 3}}}"], "an encoder is 3"),
    ("sharp", ["--metrics", "fid", "--scorers", "{scorers: {fid: {kind: [1]}}}"], "unknown kind of encoder '[1]'"),
    ("sharp", ["--metrics", "fid", "--scorers", "{scorers: {fid: {kind: open_clip, model: 3, pretrained: x}}}"],
     "no encoder of kind 'open_clip' is made of"),
])  # fmt: skip
def test_what_is_wrong_is_named(folders: Path, tmp_path: Path, images, options: list[str], said: str) -> None:
    place = folders / images if isinstance(images, str) else images(tmp_path)
    made = {
        "{empty}": lambda: empty(tmp_path),
        "{folder}": lambda: (tmp_path / "x.csv", (tmp_path / "x.csv").mkdir())[0],
    }
    options = [str(made[each]()) if each in made else each for each in options]
    if options[-1].startswith("{"):  # a YAML file's content
        (tmp_path / "mine.yaml").write_text(options[-1])
        options[-1] = str(tmp_path / "mine.yaml")
    with pytest.raises(UserError) as error:
        CliRunner().invoke(app, [str(place), *options], catch_exceptions=False)
    assert said in str(error.value)


def test_a_fault_is_one_line_and_exit_code_2(folders: Path) -> None:
    command = [sys.executable, "-m", "metrics.score", str(folders / "none"), "--metrics", "luma"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines() == [f"error: {folders / 'none'} is no folder of images"]


def test_pairs_without_names_or_of_other_sizes_are_noted(tmp_path: Path) -> None:
    for folder, names, side in (("one", "ab", 8), ("two", "xy", 8), ("three", "ab", 9)):
        (tmp_path / folder).mkdir()
        for i, name in enumerate(names):
            Image.new("RGB", (side, 8), (40 * i, 0, 0)).save(tmp_path / folder / f"{name}.png")
    for other, said in (("two", "paired in order: a.png with x.png, …, b.png with y.png"), ("three", "are 8×8 and"),
                        ("one", "")):  # fmt: skip
        options = [str(tmp_path / "one"), "--base", str(tmp_path / other), "--metrics", "luma", "--json"]
        done = CliRunner().invoke(app, options, catch_exceptions=False)
        # means of equal pixels, of 64 or of 72
        assert json.loads(done.stdout)[0]["difference"] == pytest.approx(0, abs=1e-15)
        assert said in done.stderr and bool(said) == done.stderr.startswith("note: ")


def test_pairs_go_by_name_whatever_the_order_of_the_files(tmp_path: Path) -> None:
    """a and b of one folder are 1 and 2 by number; the base's letters run the other way."""
    for folder, names in (("one", ("a_2", "b_1")), ("two", ("y_1", "z_2"))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (8, 8), (100 * int(name[-1]), 0, 0)).save(tmp_path / folder / f"{name}.png")
    row = scored(tmp_path / "one", "--base", tmp_path / "two", "--metrics", "luma")[0]
    assert (row["difference"], row["low"], row["high"]) == (0, None, None)  # two are too few for an interval


def test_a_name_that_is_no_text_is_told_where_it_cant_be_written(tmp_path: Path) -> None:
    (tmp_path / "im").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    try:
        (tmp_path / "1.png").rename(tmp_path / "im" / os.fsdecode(b"\xff.png"))
    except OSError:
        pytest.skip("this disk takes names of text alone")
    options = [str(tmp_path / "im"), "--metrics", "luma"]
    assert CliRunner().invoke(app, options, catch_exceptions=False).exit_code == 0
    with pytest.raises(UserError, match="can't write --out"):
        CliRunner().invoke(app, [*options, "--out", str(tmp_path / "x.csv")], catch_exceptions=False)
    assert [file.name for file in tmp_path.iterdir()] == ["im"]


def test_prompts_that_are_too_few_are_counted(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    with pytest.raises(UserError, match=f"holds 2 prompts and .*sharp {N} images"):
        CliRunner().invoke(
            app, [str(folders / "sharp"), "--prompts", str(tmp_path / "few.txt")], catch_exceptions=False
        )
