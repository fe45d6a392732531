"""The layouts of the prompt sets that people use, written here as their authors write them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from configs import UserError
from configs.prompt_files import rows


def parti(folder: Path) -> Path:
    file = folder / "PartiPrompts.tsv"
    file.write_text(
        "Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\t\n"
        'a sign that says "Deep Learning"\tWorld Knowledge\tWriting & Symbols\tquotes\n'
    )
    return file


def drawbench(folder: Path) -> Path:
    file = folder / "DrawBench.csv"
    file.write_bytes(b'\xef\xbb\xbfPrompts,Category\r\nA red colored car.,Colors\r\n"One cat, two dogs.",Counting\r\n')
    return file


def geneval(folder: Path) -> Path:
    file = folder / "evaluation_metadata.jsonl"
    lines = [
        {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"},
        {"tag": "counting", "include": [{"class": "cow", "count": 2}], "prompt": "a photo of two cows"},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def dpg(folder: Path) -> Path:
    place = folder / "dpg"
    place.mkdir()
    (place / "0.txt").write_text("A vivid red book\nlies on a table. " * 20)
    (place / "1.txt").write_text("Three cups.")
    return place


def t2i_compbench(folder: Path) -> Path:
    file = folder / "color_val.txt"
    file.write_text("a green bench and a blue bowl\na red bicycle and a black bag\n")
    return file


def coco(folder: Path) -> Path:
    file = folder / "captions_val2014.json"
    images = [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}]
    notes = [{"image_id": 1, "id": 5, "caption": "A bicycle."}, {"image_id": 2, "id": 6, "caption": "A room."}]
    file.write_text(json.dumps({"info": {"year": 2014}, "images": images, "licenses": [], "annotations": notes}))
    return file


def hpdv2(folder: Path) -> Path:
    file = folder / "anime.json"
    file.write_text(json.dumps(["A girl with a hat", "A castle"]))
    return file


def pickapic(folder: Path) -> Path:
    file = folder / "validation-00000.parquet"
    pd.DataFrame({"are_different": [True, False], "caption": ["a duck", "a hat"], "jpg_0": [b"x", b"y"]}).to_parquet(
        file
    )
    return file


def utf16(folder: Path) -> Path:
    file = folder / "windows.txt"
    file.write_text("ein Bär\nzwei Bären\n", "utf-16")
    return file


LAYOUTS = {
    parti: (["bond", 'a sign that says "Deep Learning"'], ["Abstract", "World Knowledge"]),
    drawbench: (["A red colored car.", "One cat, two dogs."], ["Colors", "Counting"]),
    geneval: (["a photo of a bench", "a photo of two cows"], ["single_object", "counting"]),
    dpg: ([" ".join(["A vivid red book lies on a table."] * 20), "Three cups."], ["", ""]),
    t2i_compbench: (["a green bench and a blue bowl", "a red bicycle and a black bag"], ["", ""]),
    coco: (["A bicycle.", "A room."], ["", ""]),
    hpdv2: (["A girl with a hat", "A castle"], ["", ""]),
    pickapic: (["a duck", "a hat"], ["", ""]),
    utf16: (["ein Bär", "zwei Bären"], ["", ""]),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_layouts(layout, tmp_path: Path) -> None:
    found = rows(layout(tmp_path))
    assert ([row.text for row in found], [row.category for row in found]) == LAYOUTS[layout]


def test_a_broken_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"can't read the prompts in .*x\.parquet"):
        rows(tmp_path / "x.parquet")


def test_a_parquet_without_prompts_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"title": ["x"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(UserError, match="no column 'prompt' among title"):
        rows(tmp_path / "x.parquet")


def test_the_name_of_its_image_stays_with_a_prompt(tmp_path: Path) -> None:
    named = {layout.__name__: [row.name for row in rows(layout(tmp_path))] for layout in (coco, dpg, parti)}
    assert named == {"coco": ["1.jpg", "2.jpg"], "dpg": ["0.txt", "1.txt"], "parti": [None, None]}
    assert [row.image for row in rows(tmp_path / "captions_val2014.json")] == [None, None]  # no image to begin from


def picture_folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_the_metadata_of_a_picture_folder_are_its_prompts(tmp_path: Path) -> None:
    """Hugging Face's image folders; the names of the pictures are no words."""
    folder = picture_folder(tmp_path / "set", "train/0.png", "train/1.png", "2.png", ".thumbnails/2.png")
    (folder / "metadata.csv").write_text("file_name,text\n2.png,two\n")
    (folder / "train" / "metadata.jsonl").write_text(
        '{"file_name": "1.png", "text": "one"}\n{"file_name": "0.png", "text": "zero"}\n'
    )
    found = [("2.png", "two"), ("train/1.png", "one"), ("train/0.png", "zero")]
    assert [(row.image, row.text) for row in rows(folder)] == found
    assert [row.name for row in rows(folder)] == [name for name, _ in found]
    (folder / "train" / "3.png").touch()
    with pytest.raises(UserError, match=r"metadata\.csv has no prompt for 3\.png \(1 of 4 pictures\)"):
        rows(folder)
    (folder / "metadata.csv").write_text("text\ntwo\n")
    with pytest.raises(UserError, match="a prompt without the name of its picture in a column file_name"):
        rows(folder)


def test_captions_beside_pictures_go_by_names_in_either_encoding(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "set", "e\u0301.png", "a/10.png", "a/9.png")
    (folder / "\u00e9.txt").write_text("an accent")
    (folder / "a" / "9.TXT").write_text("nine")
    assert [(row.name, row.text) for row in rows(folder)] == [
        ("a/9.png", "nine"),
        ("a/10.png", "10"),
        ("e\u0301.png", "an accent"),
    ]
    (folder / "a" / "010.txt").write_text("ten")
    with pytest.raises(UserError, match=r"no picture is called as 010\.txt, and no text as 10\.png"):
        rows(folder)


def test_a_folder_of_texts_is_read_in_the_order_of_counting(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.txt").write_text(f"prompt {i}")
    (tmp_path / "._0.txt").write_bytes(b"\x00\x05\x16\x07")
    assert [row.text for row in rows(tmp_path)] == [f"prompt {i}" for i in range(12)]
