"""What can't be run is told from configs and headers, before any weights load: here there are none to load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from configs import UserError
from freeu.models import fits, load_generator, load_spec
from freeu.models.single import XL

FIRST, WORDS = fits.FIRST[0], "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture
def folder(sd_folder: Path, tmp_path: Path) -> Path:
    """A pipeline without its weights."""
    without = shutil.ignore_patterns("*.safetensors", "*.bin")
    return Path(shutil.copytree(sd_folder, tmp_path / "mine", ignore=without))


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def refused(place: Path) -> str:
    with pytest.raises(UserError) as error:
        load_spec(place)
    assert str(place) in str(error.value) or "scheduler" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("channels, said", [(9, "inpainting"), (8, "InstructPix2Pix"), (5, "5 input channels")])
def test_a_unet_that_takes_more_than_noise(channels: int, said: str, folder: Path, tmp_path: Path) -> None:
    change(folder / "unet/config.json", in_channels=channels)
    assert said in refused(folder)
    if channels > 5:  # of a single file the layout follows
        return
    tensors = {FIRST: torch.zeros(8, channels, 3, 3), WORDS: torch.zeros(2, 768)}
    save_file(tensors, file := tmp_path / "mine.safetensors")
    assert said in refused(file)
    save_file({XL: torch.zeros(1), FIRST: torch.zeros(8, channels, 3, 3)}, file)
    assert said in refused(file)


def test_another_unet_that_takes_more_than_noise(folder: Path, tmp_path: Path) -> None:
    save_file({"input_blocks.0.0.weight": torch.zeros(8, 9, 3, 3)}, tmp_path / "a.safetensors")
    save_file({"conv_in.weight": torch.zeros(8, 9, 3, 3)}, tmp_path / "b.safetensors")
    (other := tmp_path / "unet").mkdir()
    (other / "config.json").write_text('{"in_channels": 9}')
    for place in (tmp_path / "a.safetensors", tmp_path / "b.safetensors", other):
        with pytest.raises(UserError, match="inpainting"):
            fits.check_unet(place, folder)


def test_no_text_encoder(folder: Path) -> None:
    change(folder / "model_index.json", text_encoder=[None, None])
    assert "has no text_encoder" in refused(folder)
    change(folder / "model_index.json", _class_name="StableDiffusionXLPipeline", text_encoder_2=[None, None])
    assert "has no text_encoder_2" in refused(folder)


def test_a_scheduler_that_cannot_sample_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    assert "flow matching" in refused(folder)
    change(folder / "model_index.json", scheduler=["diffusers", "UniPCMultistepScheduler"])
    change(folder / "scheduler/scheduler_config.json", use_flow_sigmas=True)
    assert "flow matching" in refused(folder)
    change(folder / "scheduler/scheduler_config.json", use_flow_sigmas=False)
    change(folder / "model_index.json", scheduler=["diffusers", "DPMSolverSDEScheduler"])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install torchsde" in refused(folder)


@pytest.mark.parametrize("name", [["StableDiffusionPipeline"], {"a": 1}, None, 5])
def test_a_pipeline_of_no_known_class(name: object, folder: Path) -> None:
    change(folder / "model_index.json", _class_name=name)
    assert "can be searched" in refused(folder)


@pytest.mark.parametrize("values", [{"sample_size": 0}, {"sample_size": -8}, {"sample_size": 10**6}])
def test_pixels_that_cannot_be(values: dict[str, Any], folder: Path) -> None:
    change(folder / "unet/config.json", **values)
    assert "resolution" in refused(folder)


@pytest.mark.parametrize("values", [{"block_out_channels": 5}, {"block_out_channels": None}])
def test_a_vae_without_levels_is_no_traceback(values: dict[str, Any], folder: Path) -> None:
    change(folder / "vae/config.json", **values)
    assert load_spec(folder).resolution == 8


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8])
def test_weights_quantised_to_whole_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    save_file({FIRST: torch.zeros(8, 4, 3, 3), WORDS: torch.zeros(2, 768, dtype=dtype)}, tmp_path / "q.safetensors")
    assert "quantised" in refused(tmp_path / "q.safetensors")


def test_a_refused_pipeline_is_told_when_loaded_too(sd_folder: Path, folder: Path) -> None:
    spec = load_spec(sd_folder).model_copy(update={"source": str(folder)})
    change(folder / "unet/config.json", in_channels=9)
    for part in ("unet", "vae", "text_encoder"):
        (file,) = (sd_folder / part).glob("*.safetensors")
        (folder / part / file.name).write_bytes(b"")  # would be told, were it read
    with pytest.raises(UserError, match="inpainting"):
        load_generator(spec, device="cpu")
