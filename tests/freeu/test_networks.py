"""Networks from folders and single files, tensor by tensor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from configs import UserError
from freeu.models import load_spec, networks, pipelines, single
from freeu.models.addons import put_on
from tests import single_file

KINDS = {"unet": UNet2DConditionModel, "vae": AutoencoderKL}
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def pipeline(sd_folder: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(sd_folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def whole(pipeline: StableDiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> State:
    """A checkpoint in the original layout."""
    return load_file(single_file.write(pipeline, tmp_path_factory.mktemp("whole") / "a.safetensors"))


def same(found: torch.nn.Module, wanted: torch.nn.Module) -> bool:
    mine, theirs = found.state_dict(), wanted.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("prefix", [None, "", "own", "diffusers"])
@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_single_file_is_the_folder(
    part: str, prefix: str | None, whole: State, pipeline, sd_folder: Path, tmp_path: Path
) -> None:
    """The whole checkpoint, the network alone, the same under another prefix, and diffusers' own file."""
    start, wanted = single.ORIGINAL[part], getattr(pipeline, part)
    tensors = whole
    if prefix == "diffusers":
        tensors = wanted.state_dict()
    elif prefix is not None:
        new = single.ALSO[part][0] if prefix == "own" else ""
        tensors = {new + k.removeprefix(start): v for k, v in whole.items() if k.startswith(start)}
    save_file(tensors, file := tmp_path / "network.safetensors")
    assert same(networks.of_file(KINDS[part], file, part, sd_folder / part, torch.float32), wanted)
    other = StableDiffusionPipeline(**{**pipeline.components, part: None}, requires_safety_checker=False)
    setattr(other, part, KINDS[part].from_config(wanted.config))
    put_on(other, load_spec(sd_folder).model_copy(update={part: str(file)}))
    assert same(getattr(other, part), wanted)


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_weight_that_is_missing_in_a_file_is_told(
    part: str, layout: str, whole: State, pipeline, sd_folder: Path, tmp_path: Path
) -> None:
    tensors = whole if layout == "original" else getattr(pipeline, part).state_dict()
    lost = [name for name in tensors if name.startswith(single.ORIGINAL[part]) or layout == "diffusers"][-1]
    save_file({k: v for k, v in tensors.items() if k != lost}, file := tmp_path / "cut.safetensors")
    with pytest.raises(UserError, match=r"cut\.safetensors lacks some of the weights"):
        networks.of_file(KINDS[part], file, part, sd_folder / part, torch.float32)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_weight_that_is_missing_in_a_folder_is_told(part: str, sd_folder: Path, tmp_path: Path) -> None:
    """diffusers puts random numbers there."""
    folder = Path(shutil.copytree(sd_folder, tmp_path / "mine"))
    (file,) = (folder / part).glob("*.safetensors")
    save_file({k: v for k, v in load_file(file).items() if "mid_block.resnets.0.conv1" not in k}, file)
    for read in (
        lambda: networks.of_folder(KINDS[part], folder / part, torch.float32),
        lambda: pipelines.pipeline(folder, "StableDiffusionPipeline", torch.float32),
    ):
        with pytest.raises(UserError, match=r"lacks \d of the network's weights \([\w.]*mid_block"):
            read()


def in_float8(whole: State, end: str, by_row: bool = False) -> State:
    """The U-Net's matrices in float8, with their scales under KEY + end."""
    found = dict(whole)
    for name, value in whole.items():
        if name.startswith(single.ORIGINAL["unet"]) and value.ndim == 2:
            most = value.abs().amax(1, keepdim=True) if by_row else value.abs().max()
            scale = most / torch.finfo(torch.float8_e4m3fn).max
            found[name] = (value / scale).to(torch.float8_e4m3fn)
            found[name.removesuffix(".weight") + end] = scale.reshape(-1)
    return found | {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("end", networks.SCALES)
def test_scaled_float8(end: str, by_row: bool, whole: State, pipeline, sd_folder: Path, tmp_path: Path) -> None:
    save_file(in_float8(whole, end, by_row), file := tmp_path / "scaled.safetensors")
    found = pipelines.pipeline(sd_folder, "StableDiffusionPipeline", torch.float32, single=file)
    assert same(found.vae, pipeline.vae)
    wanted = pipeline.unet.state_dict()
    for name, value in found.unet.state_dict().items():
        # Float8 (e4m3) rounds to 4 binary digits: by 2^-4 of a number, or 2^-10 below the smallest normal one's scale.
        least = 2.0**-10 * wanted[name].abs().max() / 448
        assert ((value - wanted[name]).abs() <= 2.0**-4 * wanted[name].abs() + least).all(), name
    alone = networks.of_file(UNet2DConditionModel, file, "unet", sd_folder / "unet", torch.float32)
    assert same(alone, found.unet)


def test_other_scales_are_refused(whole: State, sd_folder: Path, tmp_path: Path) -> None:
    scaled = in_float8(whole, ".weight_scale")
    name = next(each for each in scaled if each.endswith(".weight_scale"))
    save_file(scaled | {name: torch.ones(3, 5)}, file := tmp_path / "blocks.safetensors")
    with pytest.raises(UserError, match="by blocks"):
        pipelines.pipeline(sd_folder, "StableDiffusionPipeline", torch.float32, single=file)
    words = next(each for each in whole if each.startswith("cond_stage_model") and whole[each].ndim == 2)
    save_file(whole | {words.removesuffix(".weight") + ".scale_weight": torch.ones(1)}, file)
    with pytest.raises(UserError, match="text encoder are scaled"):
        pipelines.pipeline(sd_folder, "StableDiffusionPipeline", torch.float32, single=file)
