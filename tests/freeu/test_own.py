"""A generator of the user's own, by package.module:function; the example is the one of the guide."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import freeu
from configs import UserError
from freeu.generate import GenerationError
from freeu.models import load_generator, load_spec
from tests.studies import study

STRONG = freeu.Factors(1.5, 1.6, 0.9, 0.2)


def test_the_example_draws_under_factors() -> None:
    spec = load_spec("tests.own_generator:make_generator")
    generator = load_generator(spec, steps=3, guidance=1.0)
    done = []
    plain = generator.generate(["a", "b"], [0, 1], freeu.IDENTITY, done.append)
    assert plain.dtype == torch.uint8 and plain.shape == (2, 3, 32, 32) and done == [2]
    assert torch.equal(plain, generator.generate(["a", "b"], [0, 1], freeu.IDENTITY))
    assert not torch.equal(plain, generator.generate(["a", "b"], [0, 1], STRONG))
    assert generator.image_size == (32, 32)
    assert generator.unet_evaluations(4) == 12
    assert generator.too_long(["word " * 500]) == []


def test_a_study_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("\n".join(f"thing {i}" for i in range(24)))
    spec = tmp_path / "mine.yaml"
    shapes = load_spec("shapes")
    spec.write_text(
        f"kind: own\nsource: tests.own_generator:make_generator\nresolution: 32\nsteps: 2\nguidance: 1.0\n"
        f"prompts: {tmp_path / 'prompts.txt'}\n"
        f'scorers:\n  clip: {{kind: open_clip, source: "local-dir:{shapes.base}/shapes/scorers/clip"}}\n'
    )
    said = study(model=str(spec), trials=3, limit=4, objectives="clip", mlruns=tmp_path / "mlruns")
    assert "on 4 held-out prompts" in said or "no candidate was better" in said


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("no_such_package:make", "No module named 'no_such_package'"),
        ("tests.own_generator:mak", "mak"),
        ("json:loads", "json:loads: called with what it names of .*missing a required argument: 's'"),
        ("tests.own_generator:SmallUNet", "returned SmallUNet, which has no method generate"),
    ],
)
def test_what_cannot_be_had_is_told(source: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_generator(load_spec(source))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(2, 3, 4, 4), r"generate gave torch.float32 \(2, 3, 4, 4\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "generate gave 1 images for 2 prompts"),
        ([1, 2], "generate gave list"),
    ],
)
def test_what_is_no_images_is_told(images, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.own_generator import SmallGenerator

    monkeypatch.setattr(SmallGenerator, "generate", lambda *_: images)
    generator = load_generator(load_spec("tests.own_generator:make_generator"))
    with pytest.raises(GenerationError, match=says):
        generator.generate(["a", "b"], [0, 1], freeu.IDENTITY)


def test_its_steps_are_its_own() -> None:
    with pytest.raises(UserError, match="has the steps that it was made with"):
        load_generator(load_spec("tests.own_generator:make_generator")).with_steps(1)
