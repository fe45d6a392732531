"""What people put on a base model: LoRAs with weights, textual inversions, another VAE, a fine-tuned U-Net.

All are files or folders on this disk. Pickles are read as weights alone: code in them doesn't run.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import UserError

from .identity import only_variant
from .lora_layers import Shape
from .single import header
from .spec import ModelSpec

FLAGS = {"loras": "--lora", "embeddings": "--embedding", "vae": "--vae", "unet": "--unet"}
PICKLES = (".bin", ".pt", ".ckpt")
TORCH = (b"PK\x03\x04", b"\x80")
"""How what torch saves begins: a zip, or an old pickle."""
BROKEN = "it is damaged, or another kind of file; get it again, or as .safetensors"


@dataclass(frozen=True)
class Addon:
    """One of them. flag: as the command line names its kind. note: a LoRA's weight, an embedding's token."""

    flag: str
    place: Path
    note: str = ""

    @property
    def files(self) -> list[Path]:
        """What it is loaded from, for the identity of the model."""
        if self.place.is_file():
            return [self.place]
        kept = (".safetensors", ".bin", ".json")
        return sorted(file for file in self.place.iterdir() if file.suffix in kept)


def addons(spec: ModelSpec) -> list[Addon]:
    """Those of the spec, in the order in which they are put on.

    Raises:
        UserError: a file is not there, or a LoRA's weight is no number.
    """
    found = [Addon("--unet", spec.base / spec.unet)] if spec.unet else []
    found += [Addon("--vae", spec.base / spec.vae)] if spec.vae else []
    found += [_split("--lora", text, spec.base) for text in spec.loras]
    found += [_split("--embedding", text, spec.base) for text in spec.embeddings]
    if spec.needs and not any(getattr(spec, need) for need in spec.needs):
        flags = " or ".join(FLAGS[need] for need in spec.needs)
        raise UserError(f"--model {spec.name} is made of a base model and something of yours: give {flags} FILE")
    for addon in found:
        if not addon.place.exists():
            raise UserError(f"{addon.flag} {addon.place}: no such file or folder")
        if addon.flag in ("--lora", "--embedding") and not addon.place.is_file():
            what = "is a folder: give the file of weights in it" if addon.place.is_dir() else "is no file"
            raise UserError(f"{addon.flag} {addon.place} {what}")
        if addon.flag in ("--lora", "--embedding"):
            _check_weights(addon)
        if addon.flag in ("--unet", "--vae") and addon.place.is_file():
            if addon.place.suffix != ".safetensors":
                raise UserError(f"{addon.flag} {addon.place}: expected a diffusers folder or a .safetensors file")
            if not header(addon.place).keys() - {"__metadata__"}:
                raise UserError(f"{addon.flag} {addon.place}: it holds no tensors")
        if addon.flag == "--lora":
            _weight(addon)
    return found


def _split(flag: str, text: str, base: Path) -> Addon:
    """FILE or FILE:NOTE; a colon that belongs to the path stays there."""
    if (base / text).exists() or ":" not in text:
        return Addon(flag, base / text)
    place, note = text.rsplit(":", 1)
    return Addon(flag, base / place, note)


def _weight(addon: Addon) -> float:
    with suppress(ValueError):
        if math.isfinite(weight := float(addon.note or 1)):
            return weight
    raise UserError(f"--lora {addon.place}:{addon.note}: a weight such as 0.8 goes behind the colon")


def check_embedding(shapes: Mapping[str, Shape], widths: Mapping[str, int | None]) -> None:
    """Whether a textual inversion is one token's, for these text encoders.

    shapes: of its vectors, by their names in the file. widths: of the embeddings of each text encoder of the model;
    None is not known.

    Raises:
        UserError: it is not.
    """
    both = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
    if both.keys() <= shapes.keys():
        if "text_encoder_2" not in widths:
            raise UserError("it is for SDXL's two text encoders, and this model has one")
    elif len(shapes) != 1:
        raise UserError(f"it holds {len(shapes)} tensors: one token's is expected")
    elif "text_encoder_2" in widths:
        raise UserError("it is for one text encoder, and this model has two: its embeddings hold clip_l and clip_g")
    else:
        both = {name: "text_encoder" for name in shapes}
    for name, encoder in both.items():
        width, wanted = (shapes[name] or [0])[-1], widths.get(encoder)
        if wanted is not None and width != wanted:
            raise UserError(
                f"its vectors are {width} wide, and this model's are {wanted}: it is for another text encoder"
            )


def put_on(pipeline: Any, spec: ModelSpec) -> None:
    """Loads the spec's addons into a pipeline that is still on the CPU.

    Raises:
        UserError: one can't be read, or is for another architecture; names it.
    """
    for addon in addons(spec):
        try:
            if addon.flag == "--unet":
                _replace(pipeline, "unet", addon)
            elif addon.flag == "--vae":
                _replace(pipeline, "vae", addon)
            elif addon.flag == "--lora":
                _lora(pipeline, addon)
            else:
                _embedding(pipeline, addon)
        except UserError:
            raise
        except Exception as error:  # a damaged or foreign file raises any of a dozen kinds, deep inside
            said = " ".join(str(error).split())[:400]
            raise UserError(f"can't use {addon.flag} {addon.place}: {type(error).__name__}: {said}") from error


def _replace(pipeline: Any, part: str, addon: Addon) -> None:
    """Another network of the same kind, from a diffusers folder or a single safetensors file."""
    from . import networks

    old = getattr(pipeline, part)
    if addon.place.is_file():
        with tempfile.TemporaryDirectory() as layout:
            old.save_config(layout)
            new = networks.of_file(type(old), addon.place, part, Path(layout), old.dtype)
    else:
        new = networks.of_folder(type(old), addon.place, old.dtype, only_variant(addon.place))
    same = ("in_channels", "out_channels", "cross_attention_dim", "latent_channels")
    differ = [key for key in same if new.config.get(key) != old.config.get(key)]
    if differ:
        shown = ", ".join(f"{key} {new.config.get(key)} instead of {old.config.get(key)}" for key in differ)
        raise UserError(f"{addon.flag} {addon.place} does not fit this model: {shown}")
    setattr(pipeline, part, new)


def _lora(pipeline: Any, addon: Addon) -> None:
    from .lora import merge

    kept = header(addon.place).get("__metadata__") if addon.place.suffix == ".safetensors" else None
    settings = json.loads((kept or {}).get("lora_adapter_metadata") or "{}")
    try:
        merge(pipeline, _weights(addon.place), _weight(addon), settings)
    except UserError as error:
        raise UserError(f"--lora {addon.place}: {error}") from error


def _embedding(pipeline: Any, addon: Addon) -> None:
    """A textual inversion, as diffusers, ReVersion and the web UI write them; SDXL's has two parts."""
    encoders = {each: getattr(pipeline, each, None) for each in ("text_encoder", "text_encoder_2")}
    widths = {each: encoder.config.hidden_size for each, encoder in encoders.items() if encoder is not None}
    try:
        state = _weights(addon.place)
        name = addon.note or str(state.get("name") or addon.place.stem)
        if "string_to_param" in state:
            state = {name: next(iter(state["string_to_param"].values()))}
        check_embedding({key: value.shape for key, value in state.items()}, widths)
    except UserError as error:
        raise UserError(f"--embedding {addon.place}: {error}") from error
    if "clip_l" in state and "clip_g" in state:
        pairs = [("clip_l", "tokenizer", "text_encoder"), ("clip_g", "tokenizer_2", "text_encoder_2")]
        for key, tokenizer, encoder in pairs:
            parts = {"tokenizer": getattr(pipeline, tokenizer), "text_encoder": getattr(pipeline, encoder)}
            pipeline.load_textual_inversion({name: state[key]}, token=name, **parts)
        return
    if set(state) == {"emb_params"}:  # the web UI's safetensors name no token: it is the file's name
        state = {name: state["emb_params"]}
    ((token, vectors),) = state.items()
    pipeline.load_textual_inversion({token: vectors}, token=addon.note or token)


def _check_weights(addon: Addon) -> None:
    """Raises UserError where it is no file of weights, by its first bytes."""
    file, named = addon.place, f"{addon.flag} {addon.place}"
    if file.suffix not in (".safetensors", *PICKLES):
        raise UserError(f"{named}: expected {', '.join(('.safetensors', *PICKLES))}")
    if file.suffix not in PICKLES:
        header(file)
        return
    with file.open("rb") as stream:
        if not stream.read(4).startswith(TORCH):
            raise UserError(f"{named} is no file of weights as torch writes it: {BROKEN}")


def _weights(file: Path) -> dict[str, Any]:
    """Raises UserError, without the file's name."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    import torch

    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # any of a dozen kinds, deep inside
        raise UserError(f"it can't be read as weights alone: {BROKEN}") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"it holds no tensors by name: {BROKEN}")
    return found
