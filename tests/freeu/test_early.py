"""The steps before a schedule's start: made once, and the images are to the bit what they are without that."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import freeu
from freeu.models import load_generator, load_spec
from freeu.models.early import MOST, Early, State, untouched
from freeu.sampling import Sampling
from tests.kinds import KINDS, generator

PROMPTS, SEEDS = ["a cup", "a hat", "sea"], [0, 1, 2]


def late(start: float, b1: float = 1.5, smooth: float = 0.0) -> freeu.Factors:
    return freeu.Factors(b1, 1.6, 0.9, 0.2, controls=freeu.Controls(start=start, smooth=smooth))


def loaded(folder: Path, steps: int = 6):
    spec = load_spec(folder).model_copy(update={"scheduler": "default"})  # PNDM: steps carry state, and one is double
    return load_generator(spec, device="cpu", steps=steps, guidance=3.0, batch_size=2)


def ancestral(one):
    """With a scheduler that draws noise in each step."""
    from diffusers import EulerAncestralDiscreteScheduler

    one._pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(one._pipeline.scheduler.config)
    one._run.timesteps = one._scheduler().timesteps
    return one


@pytest.mark.parametrize("change", [lambda one: one, ancestral], ids=["pndm", "ancestral"])
def test_the_images_are_the_same_and_the_steps_fewer(sd_folder: Path, change) -> None:
    calls: list[int] = []
    one = change(loaded(sd_folder))
    forward = one._unet.forward  # no hook: for one who looks on, all steps are made
    one._unet.forward = lambda *args, **more: [calls.append(1), forward(*args, **more)][1]
    batches, steps = 2, len(one._run.timesteps)
    for factors, saved in [(late(0.5), 0), (late(0.5, 1.2), untouched(late(0.5).controls, one._run)), (late(0.2), 0)]:
        calls.clear()
        told: list[float] = []
        images = one.generate(PROMPTS, SEEDS, factors, told.append)
        assert len(calls) == batches * (steps - saved)
        assert told == sorted(told) and told[-1] == 3
        assert torch.equal(images, change(loaded(sd_folder)).generate(PROMPTS, SEEDS, factors))
    calls.clear()  # from the longest that is kept and not too long
    one.generate(PROMPTS, SEEDS, late(0.8))
    assert len(calls) == batches * (steps - untouched(late(0.5).controls, one._run))
    assert not torch.equal(images, one.generate(PROMPTS, SEEDS, freeu.IDENTITY))


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_kind_the_images_are_those_of_one_go(kind: str, tmp_path: Path) -> None:
    one = generator(KINDS[kind](tmp_path), steps=6)
    images = one.generate(PROMPTS[:2], SEEDS[:2], late(0.5))
    handle = one._unet.register_forward_hook(lambda *_: None)  # for one who looks on, all steps are made
    assert torch.equal(images, one.generate(PROMPTS[:2], SEEDS[:2], late(0.5)))
    handle.remove()
    assert torch.equal(images, one.generate(PROMPTS[:2], SEEDS[:2], late(0.5)))  # from what was kept


def test_what_is_untouched() -> None:
    from types import SimpleNamespace

    run = SimpleNamespace(timesteps=torch.arange(990, -1, -10))  # 100 steps
    # Step 70 stands at 0.7 of the run, where FreeU begins: 0 to 69 are left alone (0.7 * 100 is 70.00000000000001).
    assert untouched(late(0.7).controls, run) == 70
    assert untouched(late(0.7, smooth=0.5).controls, run) == 1  # it rises from the run's beginning
    assert untouched(freeu.Controls(), run) == 0


def test_the_oldest_states_go() -> None:
    early = Early()
    for number in range(MOST + 1):
        early.keep(number, 3, State(torch.zeros(1), None, []))
    assert early.latest(0, 5) == (0, None)
    assert early.latest(1, 5)[0] == 3 and early.latest(1, 2) == (0, None)


def test_another_number_of_steps_has_states_of_its_own(sd_folder: Path) -> None:
    one = loaded(sd_folder, 8)
    one.generate(PROMPTS, SEEDS, late(0.5))
    few = one.with_sampling(Sampling(steps=6)).generate(PROMPTS, SEEDS, late(0.7))  # as many steps before the start
    assert torch.equal(few, loaded(sd_folder, 6).generate(PROMPTS, SEEDS, late(0.7)))
