"""Images from (prompt, seed, factors): diffusers' own bit for bit without FreeU, whatever the batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import freeu
from freeu.batches import Batches, fitting
from freeu.factors import Factors
from freeu.generate import GenerationError, noise, to_uint8
from freeu.models import load_generator, load_spec
from tests import tiny

PROMPTS = ["a red cup", "two dogs", "a red cup", "sea", "a lamp"]
SEEDS = [0, 1, 2, 3, 4]
STRONG = Factors(1.5, 1.6, 0.9, 0.2)
FORMATS = ("sd_folder", "sdxl_folder")


def loaded(folder: Path, scheduler: str = "default", **chosen):
    spec = load_spec(folder).model_copy(update={"scheduler": scheduler})
    settings = {"device": "cpu", "steps": 3, "guidance": 4.0, "batch_size": 8} | chosen
    return load_generator(spec, **settings)


@pytest.fixture(scope="module", params=FORMATS)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def generator(folder: Path):
    return loaded(folder)


@pytest.mark.parametrize("guidance", [4.0, 1.0])
def test_without_freeu_the_pixels_are_diffusers_own(folder: Path, guidance: float) -> None:
    ours = loaded(folder, guidance=guidance)
    pipe = ours._pipeline
    pipe.set_progress_bar_config(disable=True)
    texts = [ours._pipeline.encode_prompt(p, device="cpu", num_images_per_prompt=1,
                                          do_classifier_free_guidance=True) for p in PROMPTS]  # fmt: skip
    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    embeds = {name: torch.cat(column) for name, column in zip(names, zip(*texts, strict=True), strict=False)}
    latents = torch.stack([noise(p, s, (4, 8, 8)) for p, s in zip(PROMPTS, SEEDS, strict=True)])
    theirs = pipe(**embeds, latents=latents, num_inference_steps=3, guidance_scale=guidance, output_type="pt").images
    expected = (theirs * 255).round().to(torch.uint8)
    assert torch.equal(ours.generate(PROMPTS, SEEDS, freeu.IDENTITY), expected)
    # FreeU acts, and nothing of it is left behind
    assert not torch.equal(ours.generate(PROMPTS, SEEDS, STRONG), expected)
    assert torch.equal(ours.generate(PROMPTS, SEEDS, freeu.IDENTITY), expected)


def test_images_are_those_of_their_prompt_and_seed(generator) -> None:
    images = generator.generate(PROMPTS, SEEDS, STRONG)
    assert images.dtype == torch.uint8 and images.shape == (5, 3, tiny.SIDE, tiny.SIDE)
    assert not torch.equal(images[0], images[2])  # one prompt, two seeds
    back = generator.generate(PROMPTS[::-1], SEEDS[::-1], STRONG).flip(0)
    # Other neighbours change the order of sums, in the last bit of float32: at most one step of 255.
    assert (images.int() - back.int()).abs().max() <= 1


@pytest.mark.parametrize("scheduler", ["default", "dpmsolver++", "ddim"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_batch_size_changes_nothing(folder: Path, scheduler: str, batch_size: int) -> None:
    whole = loaded(folder, scheduler).generate(PROMPTS, SEEDS, STRONG)
    parts = loaded(folder, scheduler, batch_size=batch_size).generate(PROMPTS, SEEDS, STRONG)
    assert (whole.int() - parts.int()).abs().max() <= 1


def test_a_scheduler_that_draws_noise_draws_it_by_image(sd_folder: Path) -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    generators = [loaded(sd_folder, batch_size=size) for size in (8, 2)]
    for one in generators:
        one._pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(one._pipeline.scheduler.config)
    whole, parts = (one.generate(PROMPTS, SEEDS, STRONG) for one in generators)
    assert (whole.int() - parts.int()).abs().max() <= 1


def test_each_prompt_is_encoded_once(generator, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = generator._pipeline.encode_prompt
    monkeypatch.setattr(generator._pipeline, "encode_prompt", lambda **k: calls.append(k["prompt"]) or real(**k))
    generator.generate(["new one", "new two", "new one"], [0, 1, 2], freeu.IDENTITY)
    generator.generate(["new two", "new one"], [5, 6], STRONG)
    assert calls == ["new one", "new two"]


def test_no_prompts_no_images(generator) -> None:
    assert generator.generate([], [], STRONG).shape == (0, 3, tiny.SIDE, tiny.SIDE)
    with pytest.raises(ValueError, match="2 prompts but 1 seeds"):
        generator.generate(["a", "b"], [1], STRONG)


def test_prompts_that_are_cut_are_named(generator) -> None:
    fits = "a" * (tiny.TOKENS - 2)  # a token a letter, and the two marks
    assert generator.max_tokens == tiny.TOKENS
    assert generator.too_long([fits, fits + "a", "b"]) == [fits + "a"]


def test_weights_in_half_precision_run_in_single_on_the_cpu(generator) -> None:
    assert {p.dtype for p in generator._unet.parameters()} == {torch.float32}


def test_out_of_memory_with_one_image_is_a_failed_trial() -> None:
    def work(part: slice) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(GenerationError, match="single image: CUDA out of memory"):
        list(Batches(4).run(5, work))


def test_what_saves_memory_is_done_before_giving_up() -> None:
    saved: list[bool] = []

    def spare() -> bool:
        saved.append(True)
        return len(saved) == 1

    def work(part: slice) -> torch.Tensor:
        if len(saved) < wanted:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.tensor([part.start])

    wanted = 1
    assert [found.item() for _, found in Batches(4, spare=spare).run(3, work)] == [0, 1, 2]
    saved.clear()
    wanted = 5
    with pytest.raises(GenerationError):
        list(Batches(4, spare=spare).run(3, work))


class OfOne:
    """Stands for `freeu.batches.Room`: a device on which five fit."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def before(self) -> None:
        self.told.append("before")

    def size(self) -> int:
        self.told.append("size")
        return 5


def test_the_batch_size_is_found_from_a_batch_of_one() -> None:
    room, batches = OfOne(), []
    list(Batches(None, room).run(12, lambda part: batches.append(part.stop - part.start) or torch.zeros(1)))
    assert batches == [1, 5, 5, 2] and room.told == ["before", "size"]
    assert [each for each, _ in Batches(3, OfOne()).run(4, lambda part: torch.zeros(1))] == [slice(0, 3), slice(3, 4)]


@pytest.mark.parametrize("free, peak, size", [
    (100, 10, 8),  # four fifths of 100, by 10
    (100, 90, 1),
    (0, 10, 1),
    (10**12, 10, 32),
    (100, 0, 32),
])  # fmt: skip
def test_what_fits(free: int, peak: int, size: int) -> None:
    assert fitting(free, peak) == size


@pytest.mark.gpu
def test_the_size_found_on_cuda_fits(sd_folder: Path) -> None:
    one = loaded(sd_folder, device="cuda", batch_size=None)
    on_cpu = loaded(sd_folder).generate(PROMPTS, SEEDS, freeu.IDENTITY)
    assert (one.generate(PROMPTS, SEEDS, freeu.IDENTITY).int() - on_cpu.int()).abs().float().mean() < 8
    assert one._batches.size > 1


def test_pixels() -> None:
    # (x / 2 + 0.5) * 255 is 0, 255, 0 and 255 beyond the range, and 127.5 at 0, whose even neighbour is 128
    x = torch.tensor([-1.0, 1.0, -7.0, 7.0, 0.0])
    images = x.repeat(3, 1)[None, :, None, :]
    assert to_uint8(images, ["p"])[0, 0, 0].tolist() == [0, 255, 0, 255, 128]
    with pytest.raises(GenerationError, match="'dark' is black"):
        to_uint8(torch.stack([images[0], images[0] * 0 - 1]), ["light", "dark"])


def test_noise_is_named_by_prompt_and_seed() -> None:
    first = noise("a", 1, (4, 8, 8))
    assert first.dtype == torch.float32 and torch.equal(first, noise("a", 1, (4, 8, 8)))
    assert all(not torch.equal(first, other) for other in (noise("a", 2, (4, 8, 8)), noise("b", 1, (4, 8, 8))))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    drawn = noise("sea", 0, (64, 64))
    assert torch.equal(before, torch.get_rng_state())  # the global generator is nobody's business
    # mean of 4096 normals: standard error 1/64; five of them
    assert drawn.mean().abs() < 5 / 64 and (drawn.std() - 1).abs() < 5 / 64
