"""`python -m search.models`, and models that are nothing without something of the user's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from configs import UserError
from freeu.models import names
from search.settings import prompts
from search.settings.job import prepare
from search.settings.reading import load
from tests.studies import study


def printed(*options: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "search.models", *options], capture_output=True, text=True, check=True
    ).stdout


def test_lists_every_model_and_which_is_here() -> None:
    found = {each["name"]: each for each in json.loads(printed("--json"))}
    assert set(found) == set(names())
    assert found["shapes"]["here"] == "yes"
    assert found["modelscope"]["frames"] == 16
    assert found["reversion"]["needs"] == ["embeddings"]
    assert found["zeroscope"]["size"] == "576x320" and "--controlnet" in found["sd15"]["takes"]
    shown = printed()
    assert all(name in shown for name in found)
    groups = [line.partition(":")[0] for line in shown.splitlines() if ": takes " in line]
    assert groups == ["text to image", "text to video", "image to video", "video to video"]


@pytest.mark.parametrize(
    ("model", "says"), [("dreambooth", "give --unet or --lora FILE"), ("reversion", "give --embedding FILE")]
)
def test_what_a_model_needs_is_told_at_once(model: str, says: str, tmp_path) -> None:
    with pytest.raises(UserError, match=says):
        prepare(load(None, {"model": model, "mlruns": tmp_path}))


def test_prompts_about_a_subject() -> None:
    found = prompts.load("subject", "a sks dog")
    assert len(found) >= 96
    assert all("a sks dog" in each.text and "{" not in each.text for each in found)
    with pytest.raises(UserError, match='name it, as --subject "a sks dog"'):
        prompts.load("subject")


def test_prompts_of_a_relation_and_of_videos() -> None:
    assert all(" <R> " in each.text for each in prompts.load("relation"))
    assert len(prompts.load("relation")) >= 96
    assert {each.category for each in prompts.load("video")} == {"objects", "animals", "people", "nature"}


def test_a_study_of_a_subject_runs_with_its_lora(sd_folder, tmp_path) -> None:
    from freeu.models import load_spec
    from tests.freeu.test_addons import lora

    shapes = load_spec("shapes").base / "shapes" / "scorers"
    (tmp_path / "mine.yaml").write_text(
        f"kind: text-to-image\nsource: {sd_folder}\nresolution: 32\nsteps: 2\nguidance: 3.0\nprompts: subject\n"
        "needs: [loras]\n"
        f'scorers:\n  clip: {{kind: open_clip, source: "local-dir:{shapes}/clip"}}\n'
    )
    settings = dict(model=str(tmp_path / "mine.yaml"), trials=3, limit=3, objectives="clip", study="dog")
    settings |= {"mlruns": tmp_path / "mlruns", "subject": "a sks dog"}
    study(**settings, loras=(f"{lora(tmp_path, sd_folder)}:0.5",))
    # Another LoRA under the study's name is another model.
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="--lora"):
        study(**settings, loras=(str(lora(tmp_path / "other", sd_folder, seed=1)),))
