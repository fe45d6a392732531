"""What is no base model of a search, told from names, configs and headers before anything loads, with the way on.

Transformers have no skips for FreeU to act on. Other U-Nets have: `freeu.enable` works on them in a script. A LoRA, a
VAE and the like go on a base model by flags of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import UserError, quoted, shortened

from .identity import read_json

NO_FREEU = "a transformer: it has no U-Net skips, so there is no FreeU for it"
BY_HAND = (
    "freeu.enable works on it (docs/freeu.md); the search does not load this kind, a generator of your own does "
    "(docs/own-model.md)"
)
COMPILED = (
    "is compiled for {}, and FreeU acts on the weights in PyTorch: give the model's diffusers folder or checkpoint"
)
BLOCKS = re.compile(
    r"(?:model\.|diffusion_model\.|transformer\.|net\.|base_model\.|lora_unet_|lora_transformer_|lycoris_)*"
    r"(?:single_|double_|joint_|dual_)?(?:transformer_)?(?:blocks|layers)[._]\d+[._]"
)
"""How the tensors of a transformer's blocks begin; those of a U-Net's stand inside its levels."""
LORA = re.compile(r"\.lora_|[._]lora[._]|hada_|lokr_|^lora_|^lycoris_")
TRANSFORMERS = re.compile(
    r"black-forest-labs/flux|stabilityai/stable-diffusion-3|pixart-alpha/pixart|qwen/qwen-image|wan-ai/wan"
    r"|tencent(?:-hunyuan)?/hunyuan|hunyuanvideo-community/|lightricks/ltx|efficient-large-model/sana|genmo/mochi"
    r"|(?:thudm|zai-org)/cog|fal/auraflow|alpha-vllm/lumina|tongyi-mai/z-image|lodestones/chroma|hidream-ai/hidream",
    re.IGNORECASE,
)
"""How the hub ids of transformers' own makers begin."""
GGUF = ("flux", "sd3", "aura", "hidream", "cosmos", "ltxv", "hyvid", "wan", "lumina2", "qwen_image", "pixart", "chroma")
"""Transformers among the architectures that a GGUF file of an image model names."""
KNOWN = (
    "UNet2DModel",
    "UNet2DConditionModel",
    "UNet3DConditionModel",
    "UNetMotionModel",
    "UNetSpatioTemporalConditionModel",
    "I2VGenXLUNet",
)
"""U-Nets in which `freeu.enable` finds the concatenations."""
PARTS = {
    "UNet2DConditionModel": "a U-Net alone: give it with --unet, beside the --model that it belongs to",
    "AutoencoderKL": "a VAE alone: give it with --vae, beside --model",
    "ControlNetModel": "a ControlNet alone: give it with --controlnet, beside --model",
    "T2IAdapter": "a T2I-Adapter alone: give it with --t2i-adapter, beside --model",
    "MotionAdapter": "a motion adapter alone: give it with --motion-adapter, beside --model sd15 or one like it",
}
HELD = (
    ("control_model.", "a ControlNet: it goes to --controlnet, beside --model"),
    ("controlnet_cond_embedding.", "a ControlNet: it goes to --controlnet, beside --model"),
    ("body.0.block1.", "a T2I-Adapter: it goes to --t2i-adapter, beside --model"),
    ("body.0.resnets.0.block1.", "a T2I-Adapter: it goes to --t2i-adapter, beside --model"),
    ("image_proj.", "an IP-Adapter: it goes to --ip-adapter, beside --model"),
    ("time_stack.", "a video model: give its diffusers folder, as a single file it is not read"),
    ("time_mix", "a video model: give its diffusers folder, as a single file it is not read"),
    ("motion_modules.", "AnimateDiff's motion module: --motion-adapter takes it as a diffusers folder"),
)
"""What in a tensor's name tells the contents of a single file."""
UNETS = ("model.diffusion_model.input_blocks.0.0.weight", "input_blocks.0.0.weight", "conv_in.weight")
WORDS = ("cond_stage_model.", "conditioner.embedders.")
"""How the text encoders of a whole checkpoint begin."""


def of_pipeline(folder: Path, index: Mapping[str, Any], known: list[str]) -> UserError:
    """The error for a pipeline that is not searched. index: its model_index.json. known: those that are."""
    name, parts = shortened(str(index.get("_class_name"))), {key for key, each in index.items() if _is_there(each)}
    if name.startswith("Onnx") or any("Onnx" in str(index[key]) for key in parts):
        return UserError(f"{folder} {COMPILED.format('ONNX Runtime')}")
    if any(str(index[key]).find("OVModel") >= 0 for key in parts):
        return UserError(f"{folder} {COMPILED.format('OpenVINO')}")
    if any(key.startswith("transformer") for key in parts):
        return UserError(f"{folder} holds a {name}, {NO_FREEU}")
    if "unet" in parts and index["unet"][1] in KNOWN and isinstance(index.get("_class_name"), str):
        return UserError(f"{folder} holds a {name}: {BY_HAND}")
    return UserError(f"{folder} holds a {name}: {' and '.join(known)} can be searched")


def check_folder(folder: Path) -> None:
    """Raises UserError for a folder without a model_index.json, naming what it is."""
    if (folder / "model_index.json").is_file():
        return
    config = folder / "config.json"
    name = str(read_json(config).get("_class_name", "")) if config.is_file() else ""
    inner = folder / "transformer" / "config.json"
    if "Transformer" in name or inner.is_file():
        raise UserError(f"{folder} holds {NO_FREEU}")
    if name in PARTS:
        raise UserError(f"{folder} is {PARTS[name]}")
    files = sorted(file.name for file in folder.iterdir() if file.suffix in (".safetensors", ".gguf", ".ckpt", ".onnx"))
    if any(folder.glob("*.onnx")) or any(folder.glob("*/*.onnx")):
        raise UserError(f"{folder} {COMPILED.format('ONNX Runtime')}")
    if files:
        raise UserError(
            f"{folder} is no diffusers pipeline: it has no model_index.json; of the checkpoints in it give one, as "
            f"--model {folder / files[0]}"
        )


def check_file(file: Path) -> None:
    """Raises UserError for a file of weights that is no safetensors file, naming what to do."""
    try:
        if not file.is_file():
            return
    except OSError:  # a name too long for the file system, say
        return
    if file.suffix == ".gguf":
        if (found := _gguf(file)) in GGUF:
            raise UserError(f"{file} holds {found}, {NO_FREEU}")
        raise UserError(
            f"{file} is GGUF, quantised by blocks, which is not read: give the model in 16 bit (safetensors)"
        )
    if file.suffix == ".onnx":
        raise UserError(f"{file} {COMPILED.format('ONNX Runtime')}")
    if file.suffix in (".ckpt", ".pt", ".pth", ".bin"):
        raise UserError(
            f"{file} is a pickle, which can hold code that runs when it is read: give the model as a .safetensors file "
            "or a diffusers folder"
        )


def check_contents(file: Path, found: Mapping[str, Any]) -> None:
    """Raises UserError for a safetensors file that holds something else than a whole model. found: its header."""
    names = [name for name in found if name != "__metadata__"]
    is_lora = any(LORA.search(name) for name in names)
    if any(BLOCKS.match(name) for name in names):
        raise UserError(f"{file} is a LoRA of {NO_FREEU}" if is_lora else f"{file} holds {NO_FREEU}")
    if is_lora:
        raise UserError(f"{file} is a LoRA: give the model that it was made for to --model, and a LoRA to --lora")
    for mark, what in HELD:
        if any(mark in name for name in names):
            raise UserError(f"{file} holds {what}")
    if set(names) in ({"emb_params"}, {"clip_l", "clip_g"}):
        raise UserError(f"{file} is a textual inversion: it goes to --embedding, beside --model")
    if any(name.removeprefix("first_stage_model.") == "decoder.conv_in.weight" for name in names) and not any(
        name.startswith("model.diffusion_model.") for name in names
    ):
        raise UserError(f"{file} holds {PARTS['AutoencoderKL']}")


def check_whole(file: Path, found: Mapping[str, Any]) -> None:
    """Raises UserError for a safetensors file of a U-Net without text encoders. found: its header."""
    if any(name in found for name in UNETS) and not any(name.startswith(WORDS) for name in found):
        raise UserError(f"{file} holds {PARTS['UNet2DConditionModel']}")


def check_hub(repo: str) -> None:
    """Raises UserError for a hub id of which it is known that it is a transformer's."""
    if TRANSFORMERS.match(repo):
        raise UserError(f"{repo} is {NO_FREEU}")


def no_checkpoint(file: Path, found: Mapping[str, Any]) -> UserError:
    """The error for a safetensors file that holds nothing that is known."""
    some = ", ".join(map(quoted, [name for name in found if name != "__metadata__"][:3])) or "no tensor"
    return UserError(
        f"{file} holds no Stable Diffusion checkpoint in the original layout (but {some}, …): a U-Net alone goes to "
        "--unet, a LoRA to --lora, a pipeline in diffusers' format is a folder"
    )


def _is_there(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and entry[1] is not None


def _gguf(file: Path) -> str:
    """The architecture that a GGUF file names among its first values; "" for none. A text there is its length in eight
    bytes and its letters, after four bytes of its type (github.com/ggml-org/ggml, docs/gguf.md)."""
    with file.open("rb") as stream:
        start = stream.read(4096)
    _, mark, rest = start.partition(b"general.architecture")
    length = int.from_bytes(rest[4:12], "little")
    return rest[12 : 12 + length].decode("utf-8", "replace") if mark and length <= 64 else ""
