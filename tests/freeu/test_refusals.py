"""Foreign things given as the base model: each is refused from its names and headers, with the way on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from configs import UserError
from freeu.models import load_spec
from freeu.models.refusals import BY_HAND, NO_FREEU
from freeu.models.single import XL

U_NET = "model.diffusion_model.input_blocks.0.0.weight"
SD_KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def pipeline(name: str, **parts: str) -> Callable[[Path], Path]:
    """A folder with an index, and of its networks the configs."""

    def make(root: Path) -> Path:
        folder = root / "pipeline"
        index = {"_class_name": name, **{part: ["diffusers", kind] for part, kind in parts.items()}}
        for part, kind in parts.items():
            (folder / part).mkdir(parents=True)
            (folder / part / "config.json").write_text(json.dumps({"_class_name": kind}))
        (folder / "model_index.json").write_text(json.dumps(index))
        return folder

    return make


def file(*keys: str, **shapes: list[int]) -> Callable[[Path], Path]:
    """A safetensors file with tensors of these names; `first` is the shape of the first one."""

    def make(root: Path) -> Path:
        tensors = {key: torch.zeros(2, 2) for key in keys}
        tensors[keys[0]] = torch.zeros(shapes.get("first", [2, 2]))
        save_file(tensors, root / "file.safetensors")
        return root / "file.safetensors"

    return make


def alone(name: str, kind: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        folder = root / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"_class_name": kind}))
        return folder

    return make


def gguf(architecture: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        key, value = b"general.architecture", architecture.encode()
        text = b"GGUF" + bytes(20) + len(key).to_bytes(8, "little") + key
        text += (8).to_bytes(4, "little") + len(value).to_bytes(8, "little") + value
        (root / "model.gguf").write_bytes(text)
        return root / "model.gguf"

    return make


def bytes_of(name: str) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
        return root / name

    return make


FLUX = "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale"
FOREIGN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "Flux, a folder": (pipeline("FluxPipeline", transformer="FluxTransformer2DModel", vae="AutoencoderKL"), NO_FREEU),
    "SD 3, a folder": (pipeline("StableDiffusion3Pipeline", transformer="SD3Transformer2DModel"), NO_FREEU),
    "PixArt, a folder": (pipeline("PixArtSigmaPipeline", transformer="PixArtTransformer2DModel"), NO_FREEU),
    "Qwen, a folder": (pipeline("QwenImagePipeline", transformer="QwenImageTransformer2DModel"), NO_FREEU),
    "Wan, a folder with two": (pipeline("WanPipeline", transformer="W", transformer_2="W"), NO_FREEU),
    "LTX, its transformer alone": (alone("transformer", "LTXVideoTransformer3DModel"), NO_FREEU),
    "Flux, a file": (file(FLUX), NO_FREEU),
    "SD 3, a file": (file("model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight"), NO_FREEU),
    "PixArt, a file": (file("blocks.0.cross_attn.kv_linear.weight", "t_embedder.mlp.0.weight"), NO_FREEU),
    "Qwen, a file": (file("transformer_blocks.0.img_mod.1.weight"), NO_FREEU),
    "Hunyuan, a LoRA": (file("transformer.single_transformer_blocks.3.attn.to_k.lora_A.weight"), "a LoRA of a transf"),
    "Flux, a LoRA": (file("lora_unet_double_blocks_0_img_attn_proj.lora_down.weight"), "a LoRA of a transformer"),
    "Flux, a GGUF": (gguf("flux"), NO_FREEU),
    "SDXL, a GGUF": (gguf("sdxl"), "give the model in 16 bit"),
    "Kolors, its layout": (pipeline("KolorsPipeline", unet="UNet2DConditionModel", text_encoder="ChatGLM"), BY_HAND),
    "Kolors as SDXL": (pipeline("StableDiffusionXLPipeline", unet="UNet2DConditionModel"), "has no text_encoder_2"),
    "DeepFloyd IF": (pipeline("IFPipeline", unet="UNet2DConditionModel"), BY_HAND),
    "Kandinsky": (pipeline("KandinskyV22Pipeline", unet="UNet2DConditionModel", movq="VQModel"), BY_HAND),
    "Kandinsky 3": (pipeline("Kandinsky3Pipeline", unet="Kandinsky3UNet", movq="VQModel"), "can be searched"),
    "I2VGen-XL": (pipeline("I2VGenXLPipeline", unet="I2VGenXLUNet", vae="AutoencoderKL"), BY_HAND),
    "Wuerstchen": (pipeline("WuerstchenDecoderPipeline", decoder="WuerstchenDiffNeXt"), "can be searched"),
    "ONNX, a pipeline": (pipeline("OnnxStableDiffusionPipeline", unet="OnnxRuntimeModel"), "ONNX Runtime"),
    "ONNX, a folder": (lambda root: bytes_of("unet/model.onnx")(root).parent, "ONNX Runtime"),
    "a pickle": (bytes_of("model.ckpt"), "give the model as a .safetensors file"),
    "a folder of checkpoints": (lambda root: file(U_NET)(root).parent, "file.safetensors"),
    "8 channels, a file of SDXL": (file(U_NET, XL, "conditioner.embedders.1.x", first=[4, 8, 3, 3]), "8 input"),
    "a U-Net, a file": (file(U_NET, SD_KEY), "--unet"),
    "a U-Net, a folder": (alone("unet", "UNet2DConditionModel"), "--unet"),
    "a VAE, a file": (file("decoder.conv_in.weight", "encoder.conv_in.weight"), "--vae"),
    "a LoRA of SDXL": (file("lora_unet_input_blocks_4_1_proj_in.lora_down.weight"), "a LoRA to --lora"),
    "an embedding of SDXL": (file("clip_l", "clip_g"), "--embedding"),
    "a ControlNet, a file": (file("control_model.input_blocks.0.0.weight"), "--controlnet"),
    "a motion module": (file("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"), "--motion-adapter"),
    "Stable Video Diffusion": (file(XL, "model.diffusion_model.input_blocks.1.1.time_stack.0.norm1.weight"), "video"),
    "something else": (file("weight"), "holds no Stable Diffusion checkpoint"),
}


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safetensors.safe_open", lambda *_, **__: pytest.fail("weights were opened"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("the hub was asked"))


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_things_are_refused_with_the_way_on(what: str, tmp_path: Path) -> None:
    make, said = FOREIGN[what]
    place = make(tmp_path)
    with pytest.raises(UserError) as error:
        load_spec(str(place))
    assert said in str(error.value) and place.name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("repo", [
    "black-forest-labs/FLUX.1-dev",
    "stabilityai/stable-diffusion-3.5-large",
    "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
    "Qwen/Qwen-Image",
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    "tencent/HunyuanImage-3.0",
    "Lightricks/LTX-Video",
])  # fmt: skip
def test_hub_ids_of_transformers_are_refused_without_asking(repo: str) -> None:
    with pytest.raises(UserError, match=f"{repo} is a transformer"):
        load_spec(repo)


@pytest.mark.parametrize("key", [
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.weight",
    "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
    "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc.weight",
    "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
])  # fmt: skip
def test_a_u_nets_blocks_are_no_transformers(key: str) -> None:
    from freeu.models.refusals import BLOCKS

    assert BLOCKS.match(key) is None
