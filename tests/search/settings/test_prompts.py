from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import UserError
from configs.prompt_files import Prompt
from search.settings.prompts import limited, load, seeds, split

FILES = {
    "a.txt": "a red ball\n\n a blue cube \na red ball\n",
    "bom.txt": "﻿a red ball\na blue cube\n",
    "a.csv": 'Prompt,Category,Note\n"a red ball",one,x\na blue cube,two,\n',
    "a.tsv": "Category\tPROMPT\none\ta red ball\ntwo\ta blue cube\n",
    "a.json": '["a red ball", {"prompt": "a blue cube", "category": "two"}]',
    "wrapped.json": '{"prompts": ["a red ball", "a blue cube"]}',
    "a.jsonl": '{"tag": "one", "prompt": "a red ball"}\n\n{"prompt": "a blue cube"}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_prompts(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name], "utf-8")
    assert [prompt.text for prompt in load(str(tmp_path / name))] == ["a red ball", "a blue cube"]


def test_categories_are_read_whatever_their_case(tmp_path: Path) -> None:
    for name in ("a.csv", "a.tsv"):
        (tmp_path / name).write_text(FILES[name])
        assert [prompt.category for prompt in load(str(tmp_path / name))] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"", "holds no prompts"),
        ("a.txt", b" \n\n", "holds no prompts"),
        ("a.txt", b"caf\xe9\n", "no text in UTF-8"),
        ("a.csv", b"prompt\n", "holds no prompts"),
        ("a.csv", b"title\nx\n", "no column 'prompt'"),
        ("a.json", b"[1]", "item 1"),
        ("a.json", b"{", "not valid JSON"),
        ("a.json", b"", "holds no prompts"),
        ("a.jsonl", b'{"prompt": "x"}\n{', "line 2"),
        ("a.jsonl", b'{"prompt": 3}', "not text"),
        ("a.xlsx", b"x", "not from .xlsx"),
    ],
)
def test_a_file_that_cant_be_used_is_said(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        load(str(tmp_path / name))
    assert said in str(error.value)
    assert name in str(error.value)


def test_no_such_set_or_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown prompt set 'shaeps'"):
        load("shaeps")
    with pytest.raises(UserError, match="does not exist"):
        load(str(tmp_path / "none.txt"))
    with pytest.raises(UserError, match="holds no prompts"):
        load(str(tmp_path))


def test_a_folder_of_pictures_is_a_set_with_captions_or_names(tmp_path: Path) -> None:
    for name in ("a_red-ball.png", "second.jpg", "note.md"):
        (tmp_path / name).touch()
    (tmp_path / "second.txt").write_text("\ufeffa blue\ncube ", "utf-8")
    found = load(str(tmp_path))
    assert [(each.text, Path(str(each.image)).name) for each in found] == [
        ("a red ball", "a_red-ball.png"),
        ("a blue cube", "second.jpg"),
    ]


def test_a_table_can_name_a_picture_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,image\nx,pictures/1.png\ny,\n")
    assert [each.image for each in load(str(tmp_path / "a.csv"))] == [str(tmp_path / "pictures" / "1.png"), None]


def test_two_pictures_of_one_prompt_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,image\nx,1.png\nx,1.png\ny,2.png\n")
    assert len(load(str(tmp_path / "a.csv"))) == 2
    (tmp_path / "b.csv").write_text("prompt,image\nx,1.png\nx,2.png\n")
    with pytest.raises(UserError, match=r"the prompt 'x' of .*b\.csv has two images, .*1\.png and .*2\.png"):
        load(str(tmp_path / "b.csv"))


def test_the_halves_are_disjoint_about_equal_and_keep_their_members() -> None:
    prompts = [Prompt(f"prompt {i}") for i in range(1000)]
    search, held_out = split(prompts)
    assert set(search).isdisjoint(held_out)
    assert len(search) + len(held_out) == 1000
    assert 440 < len(search) < 560  # 500 ± 3.8 standard deviations of 15.8
    fewer = split(prompts[:300])[0]
    assert set(fewer) <= set(search)
    with pytest.raises(UserError, match="too few"):
        split(prompts[:1])


@given(st.integers(1, 90))
def test_a_limit_takes_from_every_category_its_share(limit: int) -> None:
    prompts = [Prompt(f"{category} {i}", category) for category, n in (("a", 60), ("b", 30)) for i in range(n)]
    chosen = limited(prompts, limit)
    assert len(chosen) == limit
    assert chosen == limited(prompts[::-1], limit)
    for part in range(1, limit + 1):  # any first part is a fair sample too
        assert abs(sum(prompt.category == "a" for prompt in chosen[:part]) - part * 2 / 3) <= 1


def test_seeds_depend_on_prompt_seed_and_purpose() -> None:
    prompts = ["a", "b"]
    first = seeds(prompts, 0, "search")
    assert first == seeds(prompts, 0, "search")
    assert len({*first, *seeds(prompts, 1, "search"), *seeds(prompts, 0, "confirm")}) == 6
    assert all(0 <= seed < 2**31 for seed in first)
