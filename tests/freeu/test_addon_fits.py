"""Add-ons that don't fit are told from headers alone: none of these tests loads a weight of the model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from configs import UserError
from freeu.models import addon_fits, changed, load_spec, weight_shapes
from freeu.models.lora_layers import check, layers_of
from freeu.models.spec import ModelSpec
from search.settings.config import StudyConfig
from search.settings.job import prepare
from tests import single_file, tiny

NETWORKS = ("unet", "text_encoder", "text_encoder_2")
Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"


def made(folder: Path) -> Any:
    """The pipeline in a folder."""
    if "xl" in folder.name:
        return StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32, variant="fp16")
    return StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def files(sd_folder: Path, sdxl_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints of the original code, by layout."""
    root = tmp_path_factory.mktemp("files")
    layouts = {"sd1": sd_folder, "sd2": sd_folder, "sdxl": sdxl_folder}
    return {name: single_file.write(made(of), root / f"{name}.safetensors", name) for name, of in layouts.items()}


def of_modules(pipeline: Any) -> dict[str, dict[str, list[int]]]:
    return {
        name: {
            layer.removeprefix("text_model.").replace(".", "_"): list(module.weight.shape)
            for layer, module in network.named_modules()
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        }
        for name in NETWORKS
        if (network := getattr(pipeline, name, None)) is not None
    }


@pytest.mark.parametrize("layout", ["sd1", "sd2", "sdxl"])
def test_headers_tell_the_shapes_of_all_layers(
    layout: str, files: dict[str, Path], sd_folder: Path, sdxl_folder: Path
) -> None:
    """Of a folder and of a single file in each layout, as of the modules themselves."""
    folder = sdxl_folder if layout == "sdxl" else sd_folder
    wanted = of_modules(made(folder))
    for found in (weight_shapes.of_folder(folder, "fp16"), weight_shapes.of_file(files[layout], per_block=1)):
        assert found.keys() == wanted.keys()
        for name, layers in wanted.items():
            shapes = found[name]
            assert shapes is not None
            told = {layer: list(shapes[layer]) for layer in layers if layer in shapes}
            # OpenCLIP keeps its projection without a layer's name.
            assert told == {layer: shape for layer, shape in layers.items() if layer in told}
            assert layers.keys() - told.keys() <= {"text_projection"}


def without_weights(folder: Path, to: Path) -> Path:
    """The folder's headers over zeros: whoever read a tensor would get a wrong one."""
    shutil.copytree(folder, to)
    for file in to.rglob("*.safetensors"):
        save_file({name: torch.zeros_like(value) for name, value in load_file(file).items()}, file)
    return to


def lora(file: Path, layer: str, inputs: int, outputs: int = 16) -> str:
    down, up = torch.zeros(2, inputs), torch.zeros(outputs, 2)
    save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, file)
    return str(file)


def refused(spec: ModelSpec, **more: Any) -> str:
    with pytest.raises(UserError) as error:
        addon_fits.check_early(spec.model_copy(update=more))
    said = str(error.value)
    assert len(said) < 600 and "\n" not in said
    return said


MODELS: list[Callable[[dict[str, Path], Path], ModelSpec]] = [
    lambda files, folder: load_spec(folder),
    lambda files, folder: load_spec(files["sd1"]).model_copy(update={"config": str(folder)}),
    lambda files, folder: load_spec(files["sd1"]),  # of which the layout is on the hub, not here
]


@pytest.mark.parametrize("model", MODELS, ids=["folder", "single file", "single file without its layout"])
def test_a_lora_for_another_architecture(
    model: Callable[[dict[str, Path], Path], ModelSpec], files: dict[str, Path], sd_folder: Path, tmp_path: Path
) -> None:
    spec, file = model(files, sd_folder), tmp_path / "a.safetensors"
    for width, named in [(768, "Stable Diffusion 1"), (1024, "Stable Diffusion 2"), (2048, "SDXL"), (77, "another")]:
        said = refused(spec, loras=(lora(file, f"unet.{Q}", width),))
        assert said.startswith(f"--lora {file}: 1 of its 1 layers") and f"it is for {named}" in said
    for layer in [
        "transformer.single_transformer_blocks.0.attn.to_q",
        "transformer.transformer_blocks.0.attn.to_q",
        "diffusion_model.double_blocks.0.img_attn.proj",
        "diffusion_model.layers.0.attention.qkv",
        "base_model.model.transformer_blocks.0.attn1.to_q",
    ]:
        assert "a transformer (Flux, SD 3, …)" in refused(spec, loras=(lora(file, layer, 16),))
    assert "lora_te2" in refused(spec, loras=(lora(file, "lora_te2_text_model_encoder_layers_0_mlp_fc1", 16),))


def test_comfyuis_names(files: dict[str, Path], sd_folder: Path, tmp_path: Path) -> None:
    """Its files of the community have the original code's names under a prefix of their own."""
    theirs = single_file._unet(f"{Q}.weight", made(sd_folder).unet).removesuffix(".weight")
    layers = layers_of([f"diffusion_model.{theirs}.lora_{part}.weight" for part in ("down", "up")], 1)
    assert list(layers) == [("unet", Q.replace(".", "_"))]
    check(layers, {"": []}, {"unet": None})  # of a network that is not known nothing is said


def test_an_embedding_for_other_text_encoders(
    files: dict[str, Path], sd_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    one, file = load_spec(sd_folder), str(tmp_path / "a.safetensors")
    both = (load_spec(sdxl_folder), load_spec(files["sdxl"]).model_copy(update={"config": str(sdxl_folder)}))
    save_file({"clip_l": torch.zeros(1, 8), "clip_g": torch.zeros(1, 16)}, file)
    for spec in both:
        addon_fits.check_early(spec.model_copy(update={"embeddings": (file,)}))
    assert "SDXL's two text encoders" in refused(one, embeddings=(file,))
    save_file({"clip_l": torch.zeros(1, 8), "clip_g": torch.zeros(1, 99)}, file)
    for spec in both:
        assert "99 wide, and this model's are 16" in refused(spec, embeddings=(f"{file}:<token>",))
    save_file({"emb_params": torch.zeros(2, 16)}, file)
    addon_fits.check_early(one.model_copy(update={"embeddings": (file,)}))
    for spec in both:
        assert "this model has two" in refused(spec, embeddings=(file,))
    save_file({"emb_params": torch.zeros(2, 17)}, file)
    assert "17 wide" in refused(one, embeddings=(file,))
    save_file({"a": torch.zeros(2, 16), "b": torch.zeros(2, 16)}, file)
    assert "2 tensors" in refused(one, embeddings=(file,))


def test_another_unet_or_vae(files: dict[str, Path], sd_folder: Path, sdxl_folder: Path, tmp_path: Path) -> None:
    spec, single = load_spec(sd_folder), load_spec(files["sd1"]).model_copy(update={"config": str(sd_folder)})
    for each in (spec, single):
        for part in ("unet", "vae"):
            for place in (sd_folder / part, next((sd_folder / part).glob("*.safetensors")), files["sd1"]):
                addon_fits.check_early(each.model_copy(update={part: str(place)}))
        for place in (sdxl_folder / "unet", files["sdxl"]):
            said = refused(each, unet=str(place))
            assert said.startswith(f"--unet {place} does not fit") and "24 wide" in said and "16" in said
    other(tiny.vae(), latent_channels=16).save_pretrained(tmp_path / "vae")
    in_file = load_file(next((tmp_path / "vae").glob("*.safetensors")))
    save_file({single_file._vae(name, 3): value for name, value in in_file.items()}, tmp_path / "vae.safetensors")
    for place in (tmp_path / "vae", next((tmp_path / "vae").glob("*.safetensors")), tmp_path / "vae.safetensors"):
        for each in (spec, single):
            assert "decoder_conv_in has 16 latent channels, and the model's 4" in refused(each, vae=str(place))
    save_file({"a.weight": torch.zeros(2, 2)}, file := tmp_path / "no.safetensors")
    assert "lacks" in refused(spec, vae=str(file))
    assert "lacks" in refused(spec, unet=str(file))
    tensors = load_file(next((sd_folder / "unet").glob("*.safetensors")))
    save_file({k: v for k, v in tensors.items() if "mid_block.resnets.0.conv1" not in k}, file)
    assert "lacks 1 layers of this model's unet (mid_block_resnets_0_conv1)" in refused(spec, unet=str(file))


def other(network: Any, **config: Any) -> Any:
    """One that is built otherwise."""
    return type(network).from_config({**network.config, **config})


def test_a_lora_is_compared_with_the_unet_that_stands_in(sd_folder: Path, tmp_path: Path) -> None:
    wide = other(tiny.unet(16), block_out_channels=(16, 32, 64))
    wide.save_pretrained(tmp_path / "unet")
    weight = dict(wide.named_modules())[Q].weight
    file = lora(tmp_path / "a.safetensors", f"unet.{Q}", weight.shape[1], weight.shape[0])
    spec = load_spec(sd_folder)
    assert Q in refused(spec, loras=(file,))

    addon_fits.check_early(spec.model_copy(update={"loras": (file,), "unet": str(tmp_path / "unet")}))


def test_pickles_are_not_opened_for_it(sd_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sd_folder, tmp_path / "mine"))
    for part in ("unet", "text_encoder"):
        (file,) = (folder / part).glob("*.safetensors")
        file.with_suffix(".bin").write_bytes(b"not opened")
        file.unlink()
    file = lora(tmp_path / "a.safetensors", f"unet.{Q}", 768)
    addon_fits.check_early(load_spec(folder).model_copy(update={"loras": (file,)}))


def test_further_networks(sd_folder: Path, tmp_path: Path) -> None:
    spec, video = load_spec(sd_folder), str(tiny.clip_of_a_ball(tmp_path / "ball"))
    given = {"controlnet": str(tiny.controlnet(tmp_path / "controlnet")), "input": video}
    addon_fits.check_early(changed(spec, given))
    file = tmp_path / "controlnet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"cross_attention_dim": 99}))
    assert "99 wide, and the model's are 16" in refused(changed(spec, given))
    assert "holds a UNet2DConditionModel" in refused(changed(spec, {**given, "controlnet": str(sd_folder / "unet")}))
    for flag, field in [("--motion-adapter", "motion_adapter"), ("--refiner", "refiner")]:
        assert refused(changed(spec, {field: str(tmp_path / "none")})).startswith(flag)


def test_a_model_that_is_not_here_is_asked_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    file = lora(tmp_path / "a.safetensors", f"unet.{Q}", 768)
    addon_fits.check_early(load_spec("sdxl").model_copy(update={"loras": (file,)}))
    save_file({"a": torch.zeros(2, 2)}, other := tmp_path / "b.safetensors")  # what is no LoRA is one for no model
    assert "its tensor a is of no LoRA" in refused(load_spec("sdxl"), loras=(str(other),))
    for field, place in (("unet", "--unet"), ("vae", "--vae"), ("loras", "--lora")):
        save_file({}, empty := tmp_path / "c.safetensors")
        said = refused(load_spec("sdxl"), **{field: (str(empty),) if field == "loras" else str(empty)})
        assert said == f"{place} {empty}: it holds no tensors"


def test_all_of_it_is_told_in_a_dry_run(sd_folder: Path, tmp_path: Path) -> None:
    """`prepare` is what a dry run and a run begin with."""
    folder = without_weights(sd_folder, tmp_path / "mine")
    file = lora(tmp_path / "a.safetensors", f"unet.{Q}", 2048)
    config = {"model": str(folder), "mlruns": tmp_path / "mlruns"}
    with pytest.raises(UserError, match="it is for SDXL"):
        prepare(StudyConfig(**config, loras=(f"{file}:0.5",)))
    with pytest.raises(UserError, match="--pipeline-config"):
        prepare(StudyConfig(**config, pipeline_config=str(sd_folder)))
    assert prepare(StudyConfig(**config, unet=str(sd_folder / "unet"))).spec.unet == str(sd_folder / "unet")
