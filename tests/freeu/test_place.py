"""Where and how a pipeline runs: slices, offload, compile, tiles. The images stay what they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import freeu
from configs import UserError
from freeu.batches import Batches
from freeu.models import load_generator, load_spec
from freeu.models.place import replayed
from tests import tiny

STRONG, OTHER = freeu.Factors(1.5, 1.6, 0.9, 0.2), freeu.Factors(1.1, 1.3, 0.7, 0.4)
PROMPTS, SEEDS = ["a cup", "a hat"], [0, 1]


def loaded(folder: Path, **chosen):
    spec = load_spec(folder)
    spec = spec.model_copy(update={"frames": min(spec.frames, 3)})
    return load_generator(spec, device="cpu", steps=2, guidance=3.0, **chosen)


def images(generator) -> list[torch.Tensor]:
    return [generator.generate(PROMPTS, SEEDS, factors) for factors in (freeu.IDENTITY, STRONG, OTHER)]


def near(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> bool:
    return all((one.int() - other.int()).abs().max() <= 1 for one, other in zip(found, wanted, strict=True))


def test_attention_in_slices(sd_folder: Path) -> None:
    one = loaded(sd_folder, slicing=True)
    assert any("Sliced" in type(each).__name__ for each in one._unet.attn_processors.values())
    assert near(images(one), images(loaded(sd_folder)))


def test_the_decoder_has_a_type_of_its_own(tmp_path: Path) -> None:
    """Half a digit less: bfloat16 has 8 bits, of 255 levels; the U-Net stays as it was."""
    folder = tiny.sdxl(tmp_path / "pipeline")
    one, plain = loaded(folder, vae_dtype="bfloat16"), loaded(folder)
    assert (one._vae.dtype, one._unet.dtype) == (torch.bfloat16, torch.float32)
    assert plain._vae.dtype == torch.float32
    found, wanted = (each.generate(PROMPTS, SEEDS, STRONG).float() for each in (one, plain))
    assert 0 < (found - wanted).abs().mean() < 4


def test_offload_needs_a_device(sd_folder: Path) -> None:
    with pytest.raises(UserError, match="--offload keeps on the CPU"):
        loaded(sd_folder, offload=True)


@pytest.mark.parametrize("make", [tiny.stable_diffusion, tiny.sdxl, tiny.modelscope, tiny.animatediff])
def test_offload(make, tmp_path: Path) -> None:
    """The hooks that bring each network to the device in its turn; the device is the CPU here."""
    folder = make(tmp_path / "pipeline")
    one = loaded(folder, batch_size=2)
    one._batches = Batches(2)  # one after the other, as on every device that can be offloaded to
    wanted = images(one)
    one._pipeline.enable_model_cpu_offload(device=torch.device("cpu"))
    one._words = one._new_words()
    assert hasattr(one._unet, "_hf_hook") and hasattr(one._vae, "_hf_hook")
    assert near(images(one), wanted)
    one.prepare(PROMPTS)
    assert near(images(one), wanted)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.slow
def test_compiled_once_for_all_factors(sd_folder: Path) -> None:
    import torch._dynamo

    torch._dynamo.reset()
    one = loaded(sd_folder, compiled=True, batch_size=2)
    wanted = images(loaded(sd_folder, batch_size=2))
    first = one.generate(PROMPTS, SEEDS, STRONG)
    torch._dynamo.utils.counters.clear()
    assert near(images(one), wanted)
    assert near([first], wanted[1:2])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 0


def test_what_a_replay_overwrites_is_copied(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that keeps its results in one place, as CUDA graphs do, under a scheduler that needs the last ones."""
    began: list[int] = []
    modes: list[str | None] = []

    def stand_in(forward, *, mode: str | None = None):
        place: list[torch.Tensor] = []
        modes.append(mode)

        def replay(*args, **more):
            [found] = forward(*args, **more)
            if not place or place[0].shape != found.shape:
                place[:] = [torch.empty_like(found)]
            return (place[0].copy_(found),)

        return replay

    monkeypatch.setattr(torch, "compile", stand_in)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: began.append(1))
    spec = load_spec(sd_folder).model_copy(update={"scheduler": "PNDM"})
    plain, one = (load_generator(spec, device="cpu", steps=4, guidance=1.0, batch_size=2) for _ in range(2))
    forward = one._unet.forward
    one._unet.forward = replayed(forward)
    wanted = images(plain)
    assert all(map(torch.equal, images(one), wanted))
    assert modes == ["reduce-overhead"] and len(began) == 15  # PNDM takes one of four steps twice
    one._unet.forward = stand_in(forward)
    assert not all(map(torch.equal, images(one), wanted))
    with pytest.raises(UserError, match="--cuda-graphs needs a CUDA device"):
        loaded(sd_folder, compiled=True, graphs=True)


def test_tiles_where_a_single_image_does_not_fit(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = loaded(sd_folder, batch_size=2)
    wanted = one.generate(PROMPTS, SEEDS, STRONG)
    real, sizes = one._vae.decode, []

    def decode(latents: torch.Tensor, **how):
        sizes.append((len(latents), one._vae.use_tiling))
        if not one._vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(latents, **how)

    monkeypatch.setattr(one._vae, "decode", decode)
    assert (one.generate(PROMPTS, SEEDS, STRONG).int() - wanted.int()).abs().max() <= 1  # one tile holds it all
    assert sizes == [(2, False), (1, False), (1, True), (1, True)]
