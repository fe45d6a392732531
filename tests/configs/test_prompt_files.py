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
