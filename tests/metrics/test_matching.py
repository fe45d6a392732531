"""Prompts and partners of images by their names, in every layout that has names; what has no partner is an error."""

from __future__ import annotations

import json
import unicodedata
from itertools import permutations
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from configs import UserError
from metrics.folder_scores import read_folder
from metrics.matching import pairs, prompts_by_name

HERE = Path("x")
NAMES = [f"{i}.png" for i in range(12)]
"""In their order; by letters 10 and 11 come before 2."""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "im"
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


def prompt(name: str) -> str:
    return f"prompt {int(Path(name).stem)}"


def text_files(root: Path, names: list[str]) -> Path:
    folder = root / "captions"
    folder.mkdir()
    for name in names:
        (folder / name).with_suffix(".txt").write_text(prompt(name))
    return folder


def table(column: str, suffix: str):
    def written(root: Path, names: list[str]) -> Path:
        found = pd.DataFrame({column: names, "text": map(prompt, names)}).sample(frac=1, random_state=0)
        file = root / f"metadata.{suffix}"
        if suffix == "parquet":
            found.to_parquet(file)
        elif suffix == "jsonl":
            found.to_json(file, orient="records", lines=True)
        else:
            found.to_csv(file, index=False, sep="\t" if suffix == "tsv" else ",")
        return file

    return written


def images_of_a_hub_table(root: Path, names: list[str]) -> Path:
    cells = [{"bytes": b"x", "path": name} for name in names]
    file = root / "train.parquet"
    pd.DataFrame({"image": cells, "text": map(prompt, names)}).sample(frac=1, random_state=0).to_parquet(file)
    return file


def coco(root: Path, names: list[str]) -> Path:
    found = [{"id": 100 - i, "file_name": name} for i, name in enumerate(names)]
    notes = [{"image_id": each["id"], "caption": prompt(each["file_name"])} for each in found[::-1]]
    (root / "captions.json").write_text(json.dumps({"images": found, "annotations": notes}))
    return root / "captions.json"


LAYOUTS = {
    "texts": text_files,
    "metadata.csv": table("file_name", "csv"),
    "metadata.jsonl": table("file_name", "jsonl"),
    "metadata.parquet": table("file_name", "parquet"),
    "filename": table("filename", "tsv"),
    "Image_Path": table("Image_Path", "csv"),
    "image.parquet": table("image", "parquet"),
    "hub": images_of_a_hub_table,
    "coco": coco,
}


@pytest.mark.parametrize("spelling", ["{}.png", "{:05d}.jpg"], ids=["as-it-is", "zeros"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_prompts_go_by_the_names_of_their_images(layout: str, spelling: str, images: Path, tmp_path: Path) -> None:
    names = [spelling.format(i) for i in range(12)]
    found = read_folder(images, LAYOUTS[layout](tmp_path, names))
    assert found.names == NAMES and found.prompts == tuple(map(prompt, NAMES))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_image_without_a_prompt_is_named(layout: str, images: Path, tmp_path: Path) -> None:
    """Also where as many prompts as images are there."""
    source = LAYOUTS[layout](tmp_path, [*NAMES[:3], *NAMES[4:], "12.png"])
    with pytest.raises(UserError, match=r"has no prompt for 3\.png \(1 of 12 images\)"):
        read_folder(images, source)


def test_a_coco_annotation_without_an_image_is_told(images: Path, tmp_path: Path) -> None:
    notes = {"images": [{"id": 1, "file_name": "1.png"}], "annotations": [{"image_id": 2, "caption": "x"}]}
    (tmp_path / "coco.json").write_text(json.dumps(notes))
    with pytest.raises(UserError, match="annotation 1 is of image 2, which is not among its images"):
        read_folder(images, tmp_path / "coco.json")


def test_paths_that_end_alike_are_of_one_image() -> None:
    names = ["a/0.png", "a/1.png", "b/0.png"]
    given = [(name, f"prompt {name}") for name in names]
    texts = tuple(text for _, text in given)
    assert prompts_by_name(names, given, HERE) == texts
    assert prompts_by_name(names, [(f"/runs/x/{name}", text) for name, text in given], HERE) == texts
    assert prompts_by_name(names[::2], [("0.png", "one for both")], HERE) == ("one for both",) * 2
    assert prompts_by_name(["b/0.png"], [("0.png", "any"), ("b\\0.png", "its own")], HERE) == ("its own",)
    assert prompts_by_name(["b/0.png"], [(".", "none"), ("", "none"), ("./b/0.png", "its own")], HERE) == ("its own",)


def test_a_prompt_is_never_guessed() -> None:
    with pytest.raises(UserError, match=r"x has no prompt for a/1.png \(1 of 2 images\)"):
        prompts_by_name(["a/0.png", "a/1.png"], [("0.png", "zero")], HERE)
    with pytest.raises(UserError, match=r"several prompts for 0\.png: leave the one"):  # COCO has five for each
        prompts_by_name(["0.png"], [("0.png", "one"), ("0.png", "two")], HERE)
    with pytest.raises(UserError, match=r"several prompts for 0\.png"):
        prompts_by_name(["0.png"], [("a/0.png", "one"), ("b/0.png", "two")], HERE)
    with pytest.raises(UserError, match=r"no prompt for 01\.png"):  # 1.png's is not 01.png's, as both are there
        prompts_by_name(["01.png", "1.png"], [("1.png", "one")], HERE)


def test_a_name_is_the_same_in_either_encoding() -> None:
    one, two = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    assert one != two
    assert prompts_by_name([one], [(two, "e")], HERE) == ("e",)
    assert pairs([one, "z.png"], ["z.png", two], HERE) == ([1, 0], True)


@pytest.mark.parametrize("others", [
    ["1.png", "2.png", "10.png"],
    ["1.jpg", "2.webp", "10.TIFF"],
    ["001.png", "002.png", "010.png"],
    ["run/1.png", "run/2.png", "run/10.png"],
    ["plain_1.png", "plain_2.png", "plain_10.png"],
])  # fmt: skip
def test_pairs_go_by_names_however_they_are_spelt(others: list[str]) -> None:
    for order in permutations(range(3)):
        placed = [others[i] for i in order]
        found, by_name = pairs(["1.png", "2.png", "10.png"], placed, HERE)
        assert by_name and [placed[i] for i in found] == others


@pytest.mark.parametrize("others, said", [
    (["1.png", "2.png", "4.png"], r"lacks 3\.png and holds 4\.png beyond the images"),
    (["1.jpg", "2.jpg", "4.jpg"], r"lacks 3\.png and holds 4\.jpg"),
    (["01.png", "02.png", "04.png"], r"lacks 3\.png and holds 04\.png"),
    (["a/1.png", "a/2.png", "a/4.png"], r"lacks 3\.png and holds a/4\.png"),
    (["b_1.png", "b_2.png", "b_4.png"], r"lacks 3\.png and holds b_4\.png"),
    (["1.png", "2.png"], r"lacks 3\.png: images are paired by their names"),
    (["1.png", "2.png", "3.png", "4.png"], r"x holds 4\.png beyond the images"),
    (["a.png", "b.png"], "holds 2 images, not 3"),
])  # fmt: skip
def test_what_has_no_partner_is_named(others: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        pairs(["1.png", "2.png", "3.png"], others, HERE)


def test_names_that_are_not_unique_are_no_pairs() -> None:
    with pytest.raises(UserError, match="has its images in other folders"):
        pairs(["a/0.png", "a/1.png", "b/0.png"], ["x/0.png", "y/0.png", "y/1.png"], HERE)
    assert pairs(["a/0.png", "b/0.png"], ["x/0.png", "y/0.png"], HERE) == ([0, 1], False)


def test_other_names_pair_in_their_order() -> None:
    assert pairs(["cat.png", "dog.png"], ["one.png", "two.png"], HERE) == ([0, 1], False)


@given(st.lists(st.integers(0, 999), min_size=1, max_size=8, unique=True), st.randoms())
def test_a_pair_is_never_of_other_numbers(numbers: list[int], random) -> None:
    """Whatever the folders hold: the pairs have one number, or nothing is paired."""
    theirs = [n if random.random() < 0.9 else n + 1000 for n in random.sample(numbers, len(numbers))]
    names, others = [f"{n}.png" for n in numbers], [f"base_{n:04d}.jpg" for n in theirs]
    try:
        found, by_name = pairs(names, others, HERE)
    except UserError:
        assert set(numbers) != set(theirs)
    else:
        assert [theirs[i] for i in found] == numbers if by_name else not set(numbers) & set(theirs)
