"""Which judges a study has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from search.settings.job import prepare
from search.settings.reading import load


def judges(folder: Path, **settings: Any) -> dict[str, str]:
    return dict(prepare(load(None, {"mlruns": folder, "limit": 48, **settings})).judges)


def test_shapes_has_its_own(tmp_path: Path) -> None:
    asked = {"objects": "up", "colours": "up", "relations": "up"}
    assert judges(tmp_path) == {**asked, "render_error": "down", "kid": "down"}


def test_what_is_searched_on_is_no_judge(tmp_path: Path) -> None:
    assert "kid" not in judges(tmp_path, objectives="clip,kid")
    with pytest.raises(UserError, match="--judges kid: it is an objective, and a judge is what the search never reads"):
        judges(tmp_path, objectives="clip,kid", judges="kid")


def test_none_and_some(tmp_path: Path) -> None:
    assert judges(tmp_path, judges="none") == {}
    assert judges(tmp_path, judges="colours,cmmd") == {"colours": "up", "cmmd": "down"}


def test_the_reader_reads_its_own_prompts_alone(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("".join(f"a photograph of {n} apples\n" for n in range(200)))
    assert judges(tmp_path, prompts=str(file)) == {"render_error": "down", "kid": "down"}
    with pytest.raises(UserError, match="--judges objects: it reads prompts of the set 'shapes' alone, not 'a photo"):
        judges(tmp_path, prompts=str(file), judges="objects")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("pickscor", "unknown judge 'pickscor': did you mean 'pickscore'"),
        ("colour", "unknown judge 'colour': did you mean 'colours'"),
        ("sharpness", "--judges sharpness: it is a guardrail"),
        ("none,kid", "'none' stands alone"),
        ("kid,kid", "names one twice"),
        ("consistency", "it scores videos, and this model makes images"),
    ],
)
def test_what_is_no_judge_is_told(tmp_path: Path, given: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        judges(tmp_path, judges=given)


def test_a_hub_model_takes_what_is_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judges(tmp_path, model="sd15") == {}
    monkeypatch.setattr("metrics.at_hand.missing", lambda settings, models: [])
    assert list(judges(tmp_path, model="sd15", objectives="clip,hps")) == ["vqa", "pickscore", "image_reward", "cmmd"]
