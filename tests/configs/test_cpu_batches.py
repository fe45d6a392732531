"""Batches side by side: the same images, all of them, and errors that come out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import freeu
from configs.cpu_batches import in_order, shares, side_by_side
from freeu.batches import Batches
from freeu.models import load_generator, load_spec

STRONG = freeu.Factors(1.5, 1.6, 0.9, 0.2)
LATE = freeu.Factors(1.5, 1.6, 0.9, 0.2, controls=freeu.Controls(start=0.5))


@pytest.fixture
def two() -> Iterator[None]:
    """Torch with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_shares_are_even_and_whole(two: None) -> None:
    assert [part.stop - part.start for part in shares(48, 32)] == [24, 24]
    assert [part.stop - part.start for part in shares(12, 32)] == [6, 6]
    assert [part.stop - part.start for part in shares(65, 32)] == [17, 17, 17, 14]
    assert shares(1, 32) == [slice(0, 1)] and shares(0, 32) == []


def test_work_is_done_on_two_threads_of_one_core_each(two: None) -> None:
    both = threading.Barrier(2, timeout=600)  # passed only where two work at once

    def work(part: slice) -> list[tuple[slice, torch.Tensor]]:
        both.wait()
        assert torch.get_num_threads() == 1 and torch.is_inference_mode_enabled()
        return [(part, torch.arange(part.start, part.stop))]

    found = dict((part.start, numbers.tolist()) for part, numbers in side_by_side(shares(5, 8), work))
    assert found == {0: [0, 1, 2], 3: [3, 4]}


def test_results_come_in_order_whoever_is_first(two: None) -> None:
    last = threading.Event()

    def work(part: slice) -> int:
        if part.start:
            last.set()
        assert last.wait(600)  # the first part ends after the last one began
        return part.start

    assert in_order(5, 8, work) == [0, 3]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_a_lane_raises_comes_out(two: None, kind: type[BaseException]) -> None:
    def work(part: slice) -> torch.Tensor:
        if part.start:
            raise kind("here")
        return torch.zeros(1)

    with pytest.raises(kind, match="here"):
        list(Batches(None, lanes=True).run(4, work))


@pytest.mark.parametrize("factors", [freeu.IDENTITY, STRONG, LATE], ids=["none", "strong", "late"])
def test_images_are_those_of_one_lane(sd_folder: Path, two: None, factors: freeu.Factors) -> None:
    one = load_generator(load_spec(sd_folder), device="cpu", steps=3, guidance=3.0)
    prompts, seeds, told = ["a cup", "a hat", "sea", "two dogs", "a lamp"], [0, 1, 2, 3, 4], []
    images = one.generate(prompts, seeds, factors, told.append)
    torch.set_num_threads(1)
    alone = one.generate(prompts, seeds, factors)
    torch.set_num_threads(2)
    # Other neighbours change the order of sums, in the last bit of float32: at most one step of 255.
    assert (images.int() - alone.int()).abs().max() <= 1
    assert max(told) == pytest.approx(5)


@pytest.mark.parametrize("factors", [STRONG, LATE], ids=["strong", "late"])
def test_whoever_looks_on_sees_one_batch_after_the_other(sd_folder: Path, two: None, factors: freeu.Factors) -> None:
    one = load_generator(load_spec(sd_folder), device="cpu", steps=3, guidance=3.0)
    prompts, seeds = ["a cup", "a hat", "sea"], [0, 1, 2]
    one.generate(prompts, seeds, factors)  # whatever it keeps of this
    seen: list[tuple[float, int]] = []
    handle = one.unet.register_forward_pre_hook(lambda unet, args: seen.append((float(args[1]), len(args[0]))))
    one.generate(prompts, seeds, factors)
    handle.remove()
    assert seen == [(float(time), one.copies * len(prompts)) for time in one.timesteps]
