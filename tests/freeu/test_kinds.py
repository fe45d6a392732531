"""What every kind of generator keeps to, on tiny pipelines in their true formats."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch

import freeu
from freeu.generate import GenerationError
from freeu.models import ModelSpec, changed
from freeu.sampling import Sampling
from tests import tiny
from tests.kinds import FRAMES, KINDS, STEPS, generator, unet_samples

PROMPTS = [f"{thing} in the {place}" for place in ("sea", "sun") for thing in ("cup", "dog", "hat", "key")]
SEEDS = list(range(len(PROMPTS)))
STRONG = freeu.Factors(1.5, 1.6, 0.9, 0.2)


@pytest.fixture(scope="module", params=KINDS)
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return KINDS[request.param](tmp_path_factory.mktemp("kind"))


@pytest.fixture(scope="module")
def made(spec: ModelSpec) -> Any:
    return generator(spec)


@pytest.fixture(scope="module")
def images(made: Any) -> torch.Tensor:
    return made.generate(PROMPTS, SEEDS, STRONG)


def near(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal to one step of 255: other batches sum in another order."""
    return one.shape == other.shape and (one.int() - other.int()).abs().max() <= 1


def test_pixels_under_factors(made: Any, spec: ModelSpec, images: torch.Tensor) -> None:
    by_frame = (FRAMES,) if spec.kind.endswith("video") else ()
    assert images.dtype == torch.uint8 and images.shape == (8, *by_frame, 3, tiny.SIDE, tiny.SIDE)
    assert made.frames == (FRAMES if by_frame else 1) and made.image_size == (tiny.SIDE, tiny.SIDE)
    plain = made.generate(PROMPTS, SEEDS, freeu.IDENTITY)
    assert not near(plain, images)
    assert torch.equal(made.generate(PROMPTS, SEEDS, freeu.IDENTITY), plain)
    other = made.generate(PROMPTS[:1], SEEDS[1:2], freeu.IDENTITY)
    assert not near(other[0], plain[0])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_changes_nothing(spec: ModelSpec, images: torch.Tensor, batch_size: int) -> None:
    assert near(generator(spec, batch_size=batch_size).generate(PROMPTS, SEEDS, STRONG), images)


def test_fewer_steps_are_those_of_one_loaded_with_fewer(made: Any, spec: ModelSpec, images: torch.Tensor) -> None:
    few, loaded = made.with_sampling(Sampling(steps=STEPS - 2)), generator(spec, steps=STEPS - 2)
    assert torch.equal(few.generate(PROMPTS, SEEDS, STRONG), loaded.generate(PROMPTS, SEEDS, STRONG))
    assert few.unet_evaluations(3) == loaded.unet_evaluations(3) < made.unet_evaluations(3)
    assert torch.equal(made.generate(PROMPTS, SEEDS, STRONG), images)  # the one that it came from is as it was


OTHER = {"scheduler": "Euler", "guidance": 2.0, "guidance_rescale": 0.5, "size": (40, 24)}
TEXTS = {"clip_skip": 2, "negative_prompt": "dull"}


def test_other_settings_are_those_of_one_loaded_with_them(made: Any, spec: ModelSpec, images: torch.Tensor) -> None:
    given = OTHER if spec.kind == "image-to-video" else OTHER | TEXTS
    other = made.with_sampling(Sampling(**given))
    loaded = generator(changed(spec, given), guidance=2.0)
    found = other.generate(PROMPTS[:3], SEEDS[:3], STRONG)
    assert found.shape[-2:] == (24, 40) == other.image_size
    assert torch.equal(found, loaded.generate(PROMPTS[:3], SEEDS[:3], STRONG))
    assert torch.equal(made.generate(PROMPTS, SEEDS, STRONG), images)  # the one that it came from is as it was


def _half(spec: ModelSpec, part: slice, queue: Any) -> None:
    torch.set_num_threads(1)
    queue.put(generator(spec).generate(PROMPTS[part], SEEDS[part], STRONG).numpy())


@pytest.mark.slow
def test_two_processes_draw_what_one_does(spec: ModelSpec, images: torch.Tensor) -> None:
    context = multiprocessing.get_context("spawn")
    halves = []
    for part in (slice(0, 5), slice(5, 8)):
        queue = context.Queue()
        process = context.Process(target=_half, args=(spec, part, queue))
        process.start()
        halves.append(torch.from_numpy(queue.get(timeout=1500)))
        process.join()
    assert near(torch.cat(halves), images)


@pytest.mark.parametrize("at", [1, 2, 5])
def test_out_of_memory_makes_the_batch_smaller(
    spec: ModelSpec, images: torch.Tensor, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    one = generator(spec)
    real = one._unet.forward

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if unet_samples(x, spec) > one.copies * at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(x, *args, **kwargs)

    monkeypatch.setattr(one._unet, "forward", forward)
    assert near(one.generate(PROMPTS, SEEDS, STRONG), images)
    assert one._batches.size <= at
    assert not any(module._forward_pre_hooks for module in one._unet.modules())


def test_a_value_that_is_no_number_is_told(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    one = generator(spec)
    real, calls = one._unet.forward, []

    def forward(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        (found, *rest) = real(*args, **kwargs)
        return (found * float("nan") if len(calls) == 2 else found, *rest)

    monkeypatch.setattr(one._unet, "forward", forward)
    with pytest.raises(GenerationError, match=f"{PROMPTS[0]!r} holds NaN"):
        one.generate(PROMPTS[:2], SEEDS[:2], STRONG)


def test_evaluations_are_counted_as_they_happen(spec: ModelSpec) -> None:
    one, count = generator(spec), 0

    def counted(module: Any, args: Any) -> None:
        nonlocal count
        count += len(args[0])

    unets = [one._unet] + ([one._refiner._unet] if spec.refiner else [])
    for unet in unets:
        unet.register_forward_pre_hook(counted)
    one.generate(PROMPTS[:3], SEEDS[:3], STRONG)
    assert count == one.unet_evaluations(3)


def test_steps_are_told_and_can_end_the_run(made: Any) -> None:
    seen: list[float] = []
    made.generate(PROMPTS[:2], SEEDS[:2], STRONG, seen.append)
    assert seen == sorted(set(seen)) and seen[-1] == 2 and 2 <= len(seen) <= STEPS + 1

    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.generate(PROMPTS[:2], SEEDS[:2], STRONG, stop)
    assert not any(module._forward_pre_hooks for module in made._unet.modules())


def test_prepared_prompts_need_no_encoder(spec: ModelSpec, images: torch.Tensor) -> None:
    one = generator(spec)
    one.prepare(PROMPTS)
    parts = [getattr(one._pipeline, name, None) for name in ("text_encoder", "text_encoder_2", "image_encoder")]
    assert parts == [None] * 3
    assert near(one.generate(PROMPTS, SEEDS, STRONG), images)
    with pytest.raises(ValueError, match="'new one' is not among"):
        one.generate(["new one"], [0], STRONG)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(spec: ModelSpec, images: torch.Tensor, dtype: str) -> None:
    half = generator(spec, dtype=dtype).generate(PROMPTS[:2], SEEDS[:2], STRONG)
    # Random weights amplify the last bits of 8 or 11; what is drawn stays recognisable.
    assert (half.float() - images[:2].float()).abs().mean() < 40
