"""The table of kinds: what each can do, and that a further kind is a row."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest

from configs import UserError
from configs.prompt_files import Prompt
from freeu.models import changed, load_spec
from freeu.models.changes import ONLY
from freeu.models.kinds import KINDS, PIPELINES, Traits, pipelines_of
from freeu.models.load import generator_of
from freeu.models.text_to_image import TextToImage
from search import models
from search.settings import pictures
from tests.kinds import KINDS as MAKERS

HERE = [name for name, traits in KINDS.items() if traits.here]


def kinds(setting: str) -> set[str]:
    return {name for name, traits in KINDS.items() if ONLY[setting](traits)}


def test_which_settings_mean_something_to_which_kind() -> None:
    assert kinds("frames") == {"text-to-video", "image-to-video", "video-to-video"}
    assert kinds("every") == {"video-to-video"}
    assert kinds("strength") == {"image-to-image", "inpainting", "video-to-video"}
    assert kinds("negative_prompt") == kinds("clip_skip") == set(KINDS) - {"image-to-video"}
    by_prompt = {name for name, traits in KINDS.items() if traits.by_prompt}
    assert by_prompt == {"text-to-image", "image-to-image", "inpainting", "editing", "image-to-video"}


def test_what_a_unet_takes_beside_the_noise() -> None:
    found = {name: KINDS[name].channels(4) for name in HERE}
    assert {name: n for name, n in found.items() if n != 4} == {"inpainting": 9, "editing": 8, "image-to-video": 8}


@pytest.mark.parametrize("kind", HERE)
def test_what_is_drawn_here_has_its_class_and_pipelines(kind: str) -> None:
    assert issubclass(generator_of(load_spec("sd15").model_copy(update={"kind": kind})), TextToImage)
    assert pipelines_of(kind) and all(hasattr(diffusers, name) for name in pipelines_of(kind))
    assert set(KINDS[kind].becomes.values()) <= set(KINDS)


def test_every_pipeline_is_of_a_kind_that_draws_here() -> None:
    assert {each.kind for each in PIPELINES.values()} <= set(HERE)
    assert {each.read_as for each in PIPELINES.values()} - {None} <= set(PIPELINES)


def test_every_kind_that_draws_here_goes_through_the_generators_tests(tmp_path: Path) -> None:
    assert {make(tmp_path / name).kind for name, make in MAKERS.items()} == set(HERE)


def test_a_further_kind_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    row = Traits(generator="inpainting:Inpainting", begins="picture", strength=True, sees=True, words=False)
    monkeypatch.setitem(KINDS, "upscaling", row)
    spec = load_spec("sd15").model_copy(update={"kind": "upscaling"})
    with pytest.raises(UserError, match="makes pictures of pictures: give one with --input"):
        changed(spec, {})
    begun = {"input": str(tmp_path / "cat.png")}
    assert changed(spec, {**begun, "strength": 0.4}).strength == 0.4
    for given in ({"frames": 3}, {"negative_prompt": "dull"}, {"refiner": "some/refiner"}):
        with pytest.raises(UserError, match="upscaling"):
            changed(spec, {**begun, **given})
    assert pictures.of_prompts(spec.traits, [Prompt("a cat", image="cat.png")])["inputs"] == {"a cat": "cat.png"}
    assert models._takes(row) == ["--input or a folder as --prompts"]
    assert row.channels(4) == 8
