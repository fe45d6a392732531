"""Networks beside the pipeline's own: found, told apart, refused with the flag's and the folder's name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import freeu
from configs import UserError
from freeu.models import ModelSpec, changed, load_generator, load_spec
from freeu.models.spec import PARTS
from tests import tiny
from tests.kinds import FRAMES, KINDS, STUDIED, generator

HOLDERS = {"controlnet": "rerender", "motion_adapter": "animatediff", "refiner": "sdxl with refiner"}


@pytest.fixture(params=HOLDERS)
def part(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def spec(part: str, tmp_path: Path) -> ModelSpec:
    return KINDS[HOLDERS[part]](tmp_path)


def said(spec: ModelSpec) -> str:
    with pytest.raises(UserError) as error:
        load_generator(spec, device="cpu", steps=2)
    return str(error.value)


def test_it_counts_for_the_identity(part: str, spec: ModelSpec) -> None:
    before = load_generator(spec, device="cpu", steps=2).identity
    weights = next(Path(getattr(spec, part)).rglob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-2] ^= 1
    weights.write_bytes(data)
    assert load_generator(spec, device="cpu", steps=2).identity != before


def test_a_missing_one_says_where_it_was_looked_for(
    part: str, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = said(spec.model_copy(update={part: str(tmp_path / "none")}))
    assert "none is no folder" in message and PARTS[part][2:] in message
    monkeypatch.setattr("freeu.models.locate._unreachable", lambda *_: "no answer")
    message = said(spec.model_copy(update={part: "someone/weights"}))
    for words in ("someone/weights", "hub's cache", "no answer", f"give {PARTS[part]} FOLDER"):
        assert words in message


def test_a_damaged_one_is_named(part: str, spec: ModelSpec) -> None:
    folder = Path(getattr(spec, part))
    weights = next(folder.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:500])
    message = said(spec)
    assert str(folder) in message


def test_one_without_its_config_is_named(part: str, spec: ModelSpec) -> None:
    folder = Path(getattr(spec, part))
    (folder / ("model_index.json" if part == "refiner" else "config.json")).unlink()
    assert str(folder) in said(spec)


def test_one_of_another_architecture_is_named(part: str, spec: ModelSpec, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    if part == "refiner":
        tiny.stable_diffusion(foreign)
    else:
        shutil.copytree(tmp_path / "sd" / "vae", foreign)
    message = said(spec.model_copy(update={part: str(foreign)}))
    assert str(foreign) in message and "is expected" in message


def test_a_controlnet_for_another_model_is_named(tmp_path: Path) -> None:
    from diffusers import ControlNetModel

    spec = KINDS["rerender"](tmp_path)
    other = ControlNetModel.from_unet(tiny.unet(8), conditioning_embedding_out_channels=(4, 8, 8))
    other.save_pretrained(tmp_path / "c")
    assert "for text embeddings 8 wide, and the model's are 16" in said(
        spec.model_copy(update={"controlnet": str(tmp_path / "c")})
    )


@pytest.mark.parametrize("part", ["controlnet", "motion_adapter"])
def test_weights_of_a_variant_alone_are_used(part: str, tmp_path: Path) -> None:
    spec = KINDS[HOLDERS[part]](tmp_path)
    wanted = generator(spec).generate(["a boat"], [0], freeu.IDENTITY)
    weights = Path(getattr(spec, part)) / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert torch.equal(generator(spec).generate(["a boat"], [0], freeu.IDENTITY), wanted)


def test_a_motion_adapter_takes_the_place_of_animatediffs_own(tmp_path: Path) -> None:
    from diffusers import MotionAdapter

    spec = changed(load_spec(tiny.animatediff(tmp_path / "a")), {"resolution": tiny.SIDE, "frames": FRAMES})
    own = generator(spec).generate(["a boat"], [0], freeu.IDENTITY)
    folder = tiny.motion_adapter(tmp_path / "adapter", seed=4)
    one = generator(changed(spec, {"motion_adapter": str(folder)}))
    assert not torch.equal(one.generate(["a boat"], [0], freeu.IDENTITY), own)
    held, layers = one._unet.state_dict(), MotionAdapter.from_pretrained(folder).state_dict()
    assert layers and all(torch.equal(held[name], each) for name, each in layers.items())


def test_a_motion_adapter_is_not_for_modelscope(tmp_path: Path) -> None:
    folder = tiny.motion_adapter(tmp_path / "adapter")
    message = said(changed(load_spec(tiny.modelscope(tmp_path / "m")), {"motion_adapter": str(folder)}))
    assert f"--motion-adapter {folder}" in message and "and this is a TextToVideoSDPipeline" in message


def test_a_refiner_is_sdxls(tmp_path: Path) -> None:
    spec = KINDS["sd"](tmp_path).model_copy(update={"refiner": str(tiny.refiner(tmp_path / "refiner"))})
    assert "--refiner is SDXL's" in said(spec)


def test_sdxl_keeps_all_of_its_unet_when_it_is_set_in_motion(tmp_path: Path) -> None:
    """diffusers' UNetMotionModel.from_unet2d leaves out what is told of sizes and pooled words."""
    from freeu.models import pipelines

    spec = STUDIED["animatediff sdxl"](tmp_path)
    still = pipelines.pipeline(spec.folder, "StableDiffusionXLPipeline", torch.float32, spec.variant).unet.state_dict()
    moved = generator(spec).unet.state_dict()
    assert still.keys() < moved.keys() and all("motion_modules" in name for name in moved.keys() - still.keys())
    assert all(torch.equal(moved[name], weight) for name, weight in still.items())


def test_a_controlnet_union_is_told_before_anything_loads(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from freeu.models import addon_fits

    (tmp_path / "union").mkdir()
    (tmp_path / "union" / "config.json").write_text('{"_class_name": "ControlNetUnionModel"}')
    save_file({"weight": torch.zeros(1)}, tmp_path / "union" / "diffusion_pytorch_model.safetensors")
    save_file({"task_embedding": torch.zeros(6, 320)}, tmp_path / "promax.safetensors")
    spec = load_spec(tiny.stable_diffusion(tmp_path / "sd"))
    for place in (tmp_path / "union", tmp_path / "promax.safetensors"):
        with pytest.raises(UserError, match=r"is a ControlNet-Union, .* give a ControlNet for that kind alone"):
            addon_fits.check_early(spec.model_copy(update={"controlnets": (str(place),)}))
