"""A generator of the user's own, by package.module:function; the example is the one of the guide."""

from __future__ import annotations

import functools
import importlib
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import freeu
from configs import UserError
from freeu.generate import GenerationError
from freeu.models import changed, load_generator, load_spec
from freeu.sampling import Sampling
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


def test_its_sampling_settings_are_its_own() -> None:
    with pytest.raises(UserError, match="steps 1: a generator of one's own has the sampling settings"):
        load_generator(load_spec("tests.own_generator:make_generator")).with_sampling(Sampling(steps=1))


def test_settings_that_its_function_names_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def made_here(steps: int, scheduler: str = "", size: tuple[int, int] = (8, 8), negative_prompt: str = "") -> Made:
        return Made(told=(steps, scheduler, size, negative_prompt))

    monkeypatch.setattr(sys.modules[__name__], "made_here", made_here, raising=False)
    spec = load_spec(f"{__name__}:made_here")
    given = {"scheduler": "euler_ancestral", "size": (64, 32), "negative_prompt": "dull", "steps": 7}
    made = load_generator(changed(spec, given))
    assert made._inner.told == (7, "Euler a", (64, 32), "dull") and made.image_size == (32, 64)
    assert load_generator(spec)._inner.told[1:] == ("", (8, 8), "")
    with pytest.raises(UserError, match=r"--clip-skip: .*made_here takes no clip_skip: add it"):
        load_generator(changed(spec, {"clip_skip": 2}))


class Made:
    """A generator that holds `held`."""

    def __init__(self, held: object = None, **more: object) -> None:
        self.held = held
        vars(self).update(more)

    def generate(self, prompts: list[str], seeds: list[int], factors: freeu.Factors) -> torch.Tensor:
        return torch.ones(len(prompts), 3, 4, 4, dtype=torch.uint8)


def loaded(monkeypatch: pytest.MonkeyPatch, make: object):
    monkeypatch.setattr(sys.modules[__name__], "made_here", make, raising=False)
    return load_generator(load_spec(f"{__name__}:made_here"), steps=3, guidance=1.0)


def linear(value: float, **more: object) -> nn.Linear:
    found = nn.Linear(1, 1)
    with torch.no_grad():
        found.weight.fill_(value)
        found.bias.fill_(0)
    return found.to(**more)  # type: ignore[call-overload]


class Buffered(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(value), persistent=False)


class Slotted:
    __slots__ = ("unet",)

    def __init__(self, unet: nn.Module) -> None:
        self.unet = unet


def closed_over(unet: nn.Module):
    return lambda x: unet(x)


HOLDS = {
    "a module": linear,
    "a module inside of one": lambda value: nn.Sequential(linear(value)),
    "a buffer that isn't saved": Buffered,
    "a list": lambda value: [linear(value)],
    "a dict": lambda value: {"unet": linear(value)},
    "an object": lambda value: SimpleNamespace(unet=linear(value)),
    "slots": lambda value: Slotted(linear(value)),
    "a closure": lambda value: closed_over(linear(value)),
    "a partial": lambda value: functools.partial(print, linear(value)),
    "a method": lambda value: linear(value).forward,
    "half precision": lambda value: linear(value, dtype=torch.bfloat16),
    "a tensor beside one": lambda value: [linear(1.0), torch.tensor(value)],
    "an array beside one": lambda value: [linear(1.0), np.array(value)],
}


@pytest.mark.parametrize("way", HOLDS)
def test_other_weights_are_another_identity(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it holds them; the same ones, loaded anew, are the same."""
    one, again, other = (loaded(monkeypatch, lambda v=v: Made(HOLDS[way](v))).identity for v in (1.0, 1.0, 2.0))
    assert len(one) == 64
    assert one == again != other


def test_weights_in_a_global_of_its_source_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a module that it imports, and so does that one's source."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_mine.py").write_text(
        "import of_mine_too\n\nclass Mine:\n    def generate(self, *_): return of_mine_too.UNET\n"
    )

    def identity(text: str) -> str:
        for name in ("of_mine", "of_mine_too"):
            sys.modules.pop(name, None)
        (tmp_path / "of_mine_too.py").write_text(text)
        importlib.invalidate_caches()
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        return load_generator(load_spec("of_mine:Mine")).identity

    first = identity(
        "import torch\nUNET = torch.nn.Linear(1, 1)\ntorch.nn.init.ones_(UNET.weight)\nUNET.bias.data[:] = 0"
    )
    fresh = identity(
        "import torch\nUNET = torch.nn.Linear(1, 1)\ntorch.nn.init.zeros_(UNET.weight)\nUNET.bias.data[:] = 0"
    )
    held = "import torch\nclass Kept:\n    unet = torch.nn.Linear(1, 1, bias=False)\n    torch.nn.init.{}_(unet.weight)"
    found = [first, fresh, identity(held.format("ones")), identity(held.format("zeros"))]
    assert len(set(found)) == 4 and all(found)
    assert identity("UNET = None") == ""


@pytest.mark.parametrize("held", [None, nn.ReLU(), nn.Linear(1, 1, device="meta"), torch.ones(3)])
def test_what_cannot_be_told_is_no_identity(held: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, lambda: Made(held)).identity == ""
    assert loaded(monkeypatch, lambda: Made(held, identity="v1")).identity == "v1"


@pytest.mark.parametrize(
    "make",
    [
        Made,
        lambda: Made(),
        functools.partial(Made, None, steps=1),
        SimpleNamespace(make=Made).make,
        type("C", (), {"__call__": lambda self, steps: Made()})(),
    ],
)
def test_any_callable_makes_one(make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(loaded(monkeypatch, make).generate(["a"], [0], STRONG)) == 1


def test_its_own_attributes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    more = {
        "identity": "mine 3",
        "image_size": [8, 16],
        "max_tokens": 5,
        "unet_evaluations": lambda n: 7 * n,
        "too_long": lambda prompts: prompts[:1],
        "prepare": told.append,
    }
    found = loaded(monkeypatch, lambda: Made(**more))
    found.prepare(("a", "b"))
    assert (found.identity, found.image_size, found.max_tokens) == ("mine 3", (8, 16), 5)
    assert (found.unet_evaluations(2), found.too_long(["a", "b"]), told) == (14, ["a"], [["a", "b"]])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("identity", lambda: "a", "its identity is .*expected a text"),
        ("identity", "", "its identity is '': expected a text"),
        ("image_size", 512, r"its image_size is 512: expected \(height, width\)"),
        ("image_size", (0, 8), r"its image_size is \(0, 8\)"),
        ("max_tokens", "77", "its max_tokens is '77': expected a number"),
        ("unet_evaluations", 30, "its unet_evaluations is 30: expected a method"),
        ("too_long", [], r"its too_long is \[\]: expected a method"),
        ("prepare", True, "its prepare is True: expected a method"),
    ],
)
def test_an_attribute_that_cannot_be_is_told(
    name: str, value: object, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=says):
        loaded(monkeypatch, lambda: Made(**{name: value}))


def test_what_it_raises_is_told_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"made_here raised ZeroDivisionError: .*\(test_own\.py, line \d+\)"):
        loaded(monkeypatch, lambda: 1 / 0)
