"""Questions that prompt sets bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import UserError
from configs.prompt_files import rows
from configs.prompt_questions import questions_of


def test_a_column_of_a_table(tmp_path: Path) -> None:
    file = tmp_path / "set.csv"
    file.write_text('prompt,questions\n"two dogs","Are there two dogs? Is one of them black?"\na cat,Is it a cat\n')
    assert [each.questions for each in rows(file)] == [
        ("Are there two dogs?", "Is one of them black?"),
        ("Is it a cat",),
    ]


def test_a_list_and_none() -> None:
    assert questions_of({"questions": ["Is it red?", " Is it big? "]}, "here") == ("Is it red?", "Is it big?")
    assert questions_of({"prompt": "a cat", "questions": None}, "here") == ()
    with pytest.raises(UserError, match="here: the questions are 7"):
        questions_of({"questions": 7}, "here")


def test_what_geneval_asks_for() -> None:
    row = {
        "tag": "position",
        "include": [
            {"class": "dog", "count": 2},
            {"class": "cup", "count": 1, "color": "red", "position": ["left of", 0]},
        ],
    }
    assert questions_of(row, "here") == (
        "Are there exactly 2 dogs in the image?",
        "Is there a cup in the image?",
        "Is the cup red?",
        "Is the cup left of the dog?",
    )
    assert questions_of({"include": "a text"}, "here") == ()
