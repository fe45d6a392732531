"""What people put on a base model, in the true formats, made here with random weights."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import freeu
from configs import UserError
from freeu.models import load_generator, load_spec
from freeu.models.addons import addons
from freeu.models.spec import ModelSpec
from tests import tiny

PROMPTS, SEEDS = ("a boat", "a cat on a mat"), (0, 1)


def spec_of(folder: Path, **more) -> ModelSpec:
    return load_spec(folder).model_copy(update={"scheduler": "ddim", **more})


def drawn(spec: ModelSpec, prompts=PROMPTS, factors=freeu.IDENTITY) -> torch.Tensor:
    generator = load_generator(spec, device="cpu", steps=2, guidance=3.0, batch_size=2)
    return generator.generate(prompts, SEEDS[: len(prompts)], factors)


def lora(folder: Path, pipeline: Path, seed: int = 0) -> Path:
    """As `save_lora_weights` writes one for the U-Net's attention."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    variant = "fp16" if list((pipeline / "unet").glob("*.fp16.*")) else None
    unet = UNet2DConditionModel.from_pretrained(pipeline / "unet", variant=variant)
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]))
    random = torch.Generator().manual_seed(seed)
    layers = {k: torch.randn(v.shape, generator=random) for k, v in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)
    return folder / "pytorch_lora_weights.safetensors"


def test_a_lora_by_its_weight(sd_folder: Path, tmp_path: Path) -> None:
    file = lora(tmp_path, sd_folder)
    plain = drawn(spec_of(sd_folder))
    assert torch.equal(drawn(spec_of(sd_folder, loras=(f"{file}:0",))), plain)
    whole, half = (drawn(spec_of(sd_folder, loras=(f"{file}:{w}",))) for w in (1, 0.5))
    assert torch.equal(drawn(spec_of(sd_folder, loras=(str(file),))), whole)
    assert not torch.equal(whole, plain) and not torch.equal(half, whole)


def test_two_loras_of_half_are_one_whole(sd_folder: Path, tmp_path: Path) -> None:
    file = lora(tmp_path, sd_folder)
    both = drawn(spec_of(sd_folder, loras=(f"{file}:0.5", f"{file}:0.5")))
    one = drawn(spec_of(sd_folder, loras=(str(file),)))
    assert (both.int() - one.int()).abs().max() <= 1


def test_a_merged_lora_is_what_diffusers_makes_of_it_at_run_time(sd_folder: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    from freeu.models.addons import put_on

    file = lora(tmp_path, sd_folder)
    ours, theirs = (StableDiffusionPipeline.from_pretrained(sd_folder, dtype=torch.float32) for _ in range(2))
    put_on(ours, spec_of(sd_folder, loras=(f"{file}:0.7",)))
    theirs.load_lora_weights(file, adapter_name="x")
    theirs.set_adapters(["x"], [0.7])
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(1, 4, 8, 8, generator=random), 5, torch.randn(1, tiny.TOKENS, 16, generator=random)
    with torch.no_grad():
        found, wanted = ours.unet(*inputs).sample, theirs.unet(*inputs).sample
        plain = StableDiffusionPipeline.from_pretrained(sd_folder, dtype=torch.float32).unet(*inputs).sample
    # The same sums in another order, through softmaxes of large logits; the LoRA itself changes far more.
    assert (found - wanted).abs().max() <= 1e-4
    assert (wanted - plain).abs().max() > 0.1
    assert not any("lora" in name for name, _ in ours.unet.named_modules())


def test_freeu_acts_on_a_model_with_a_lora(sd_folder: Path, tmp_path: Path) -> None:
    spec = spec_of(sd_folder, loras=(str(lora(tmp_path, sd_folder)),))
    assert not torch.equal(drawn(spec, factors=freeu.Factors(1.5, 1.6, 0.9, 0.2)), drawn(spec))


def vectors(width: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("form", ["safetensors", "reversion", "web ui"])
def test_an_embedding_gives_its_token_a_meaning(form: str, sd_folder: Path, tmp_path: Path) -> None:
    if form == "safetensors":
        save_file({"<R>": vectors()}, file := tmp_path / "relation.safetensors")
    elif form == "reversion":
        torch.save({"<R>": vectors()}, file := tmp_path / "learned_embeds.bin")
    else:
        torch.save({"string_to_param": {"*": vectors()}, "name": "<R>"}, file := tmp_path / "relation.pt")
    prompts = ("cat <R> box", "cat on box")
    with_it, without = drawn(spec_of(sd_folder, embeddings=(str(file),)), prompts), drawn(spec_of(sd_folder), prompts)
    assert not torch.equal(with_it[0], without[0])
    assert torch.equal(with_it[1], without[1])
    renamed = drawn(spec_of(sd_folder, embeddings=(f"{file}:<other>",)), ("cat <other> box", "cat on box"))
    assert not torch.equal(renamed[0], drawn(spec_of(sd_folder), ("cat <other> box", "cat on box"))[0])


def test_the_web_uis_safetensors_are_named_by_their_file(sd_folder: Path, tmp_path: Path) -> None:
    save_file({"emb_params": vectors()}, file := tmp_path / "style.safetensors")
    save_file({"style": vectors()}, tmp_path / "named.safetensors")
    prompts = ("a style boat", "a boat")
    found = drawn(spec_of(sd_folder, embeddings=(str(file),)), prompts)
    assert torch.equal(found, drawn(spec_of(sd_folder, embeddings=(str(tmp_path / "named.safetensors"),)), prompts))
    assert not torch.equal(found[0], drawn(spec_of(sd_folder), prompts)[0])
    renamed = drawn(spec_of(sd_folder, embeddings=(f"{file}:other",)), ("a other boat", "a boat"))
    assert not torch.equal(renamed[0], drawn(spec_of(sd_folder), ("a other boat", "a boat"))[0])


def test_an_embedding_for_sdxl_goes_to_both_encoders(sdxl_folder: Path, tmp_path: Path) -> None:
    save_file({"clip_l": vectors(8), "clip_g": vectors(16)}, file := tmp_path / "style.safetensors")
    prompts = ("a style boat", "a boat")
    with_it = drawn(spec_of(sdxl_folder, embeddings=(str(file),)), prompts)
    without = drawn(spec_of(sdxl_folder), prompts)
    assert not torch.equal(with_it[0], without[0])
    assert torch.equal(with_it[1], without[1])


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_a_fine_tuned_unet_and_another_vae(variant: str | None, sd_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    tiny.unet(16).save_pretrained(tmp_path / "unet", variant=variant)
    tiny.vae().save_pretrained(tmp_path / "vae", variant=variant)
    plain = drawn(spec_of(sd_folder))
    for part in ("unet", "vae"):
        changed = drawn(spec_of(sd_folder, **{part: str(tmp_path / part)}))
        assert not torch.equal(changed, plain)


def test_the_identity_holds_what_is_put_on(sd_folder: Path, tmp_path: Path) -> None:
    files = [lora(tmp_path / str(seed), sd_folder, seed) for seed in (0, 1)]
    found = {
        load_generator(spec_of(sd_folder, loras=loras), device="cpu", steps=2).identity
        for loras in ((), (str(files[0]),), (str(files[1]),))
    }
    assert len(found) == 3


def refused(sd_folder: Path, **more) -> str:
    with pytest.raises(UserError) as error:
        drawn(spec_of(sd_folder, **more))
    return str(error.value)


def test_what_does_not_fit_is_told_by_its_file(sd_folder: Path, sdxl_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    foreign = lora(tmp_path / "xl", sdxl_folder)
    assert str(foreign) in refused(sd_folder, loras=(str(foreign),))
    assert "no such file" in refused(sd_folder, loras=("missing.safetensors:0.5",))
    for weight in ("much", "nan", "inf"):
        assert "a weight such as 0.8" in refused(sd_folder, loras=(f"{foreign}:{weight}",))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(foreign.read_bytes()[:100])
    assert str(broken) in refused(sd_folder, loras=(str(broken),))
    save_file({"<R>": vectors(99)}, wide := tmp_path / "wide.safetensors")
    assert str(wide) in refused(sd_folder, embeddings=(str(wide),))
    save_file({"a": vectors(), "b": vectors()}, several := tmp_path / "several.safetensors")
    assert "holds 2 tensors" in refused(sd_folder, embeddings=(str(several),))
    tiny.unet(24).save_pretrained(tmp_path / "other")
    assert "takes text 24 wide, and the model's is 16" in refused(sd_folder, unet=str(tmp_path / "other"))
    (tmp_path / "notes.txt").write_text("x")
    assert "expected .safetensors" in refused(sd_folder, embeddings=(str(tmp_path / "notes.txt"),))
    save_file({}, empty := tmp_path / "empty.safetensors")
    assert f"{empty}: it holds no tensors" in refused(sd_folder, loras=(str(empty),))


@pytest.mark.parametrize("field", ["loras", "embeddings"])
def test_a_broken_pickle_is_told_before_anything_loads(field: str, sd_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "broken.pt"
    for content in (b"", b"<!doctype html>", b"version https://git-lfs"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"broken\.pt is no file of weights as torch writes it"):
            addons(spec_of(sd_folder, **{field: (str(file),)}))
    torch.save({"x": vectors()}, file)
    file.write_bytes(file.read_bytes()[:200])
    assert "broken.pt: it can't be read as weights alone: it is damaged" in refused(sd_folder, **{field: (str(file),)})
    for content in ([vectors()], {1: vectors()}):
        torch.save(content, file)
        assert "broken.pt: it holds no tensors by name" in refused(sd_folder, **{field: (str(file),)})


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("field", ["loras", "embeddings"])
def test_code_in_a_pickle_does_not_run(field: str, sd_folder: Path, tmp_path: Path) -> None:
    file, mark = tmp_path / "nice.bin", tmp_path / "ran"
    file.write_bytes(pickle.dumps({"x": Evil(mark)}))
    assert str(file) in refused(sd_folder, **{field: (str(file),)})
    torch.save({"x": Evil(mark)}, file)
    assert str(file) in refused(sd_folder, **{field: (str(file),)})
    assert not mark.exists()
