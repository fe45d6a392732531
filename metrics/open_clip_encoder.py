"""Encoders of open_clip: a folder on this disk, one of its published models, or weights in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch

from configs import UserError, identity, quoted, read_json, unknown

from .encoders import Encoder
from .hub import weights_file, why_not
from .preprocessing import fitted, scaled

TOKENIZER_ARGUMENTS = {"clean", "strip_sep_token", "language"}
"""Of an open_clip folder's `tokenizer_kwargs`: those that open_clip reads itself."""


def load_open_clip(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    """The encoder of {kind: open_clip, …}; see `metrics.encoders.encoder`. Raises UserError."""
    import open_clip
    from transformers import AutoConfig

    shape = None
    if "source" in spec:
        folder = models / str(spec["source"]).removeprefix("local-dir:")
        if not (folder / "open_clip_config.json").is_file():
            raise UserError(f"{folder} is no open_clip folder: it lacks open_clip_config.json")
        name, pretrained, label = f"local-dir:{folder}", None, identity(folder)
        shape = _checked_shape(folder)
    elif "weights" in spec:
        file = weights_file(spec["weights"], models)
        name, pretrained, label = spec["model"], None, f"open_clip:{spec['model']}/{identity(file)}"
        shape = open_clip.get_model_config(name)
    else:
        name, pretrained = spec["model"], spec["pretrained"]
        _check_open_clip(name, pretrained)
        label = f"open_clip:{name}/{pretrained}"
    try:
        words = (open_clip.get_model_config(name) or {}).get("text_cfg", {})
        if words.get("hf_model_name"):  # refused here, as open_clip has transformers ask whether its code may run
            AutoConfig.from_pretrained(words["hf_model_name"], trust_remote_code=False)
        model = open_clip.create_model(name, pretrained=pretrained, precision="fp32", device=device)
        safe = {"trust_remote_code": False} if words.get("hf_tokenizer_name") else {}
        tokenizer = open_clip.get_tokenizer(name, **safe)
        if "weights" in spec:
            model.load_state_dict(_state(file))
    except Exception as error:  # each loader and download of open_clip's raises its own
        raise UserError(f"can't load the open_clip model {spec.get('source') or label}: {error}") from error
    model.eval().requires_grad_(False)
    wanted = open_clip.get_model_preprocess_cfg(model)
    side = wanted["size"]
    size = (side, side) if isinstance(side, int) else tuple(side)

    fit = partial(fitted, size=size, interpolation=wanted["interpolation"], mode=wanted["resize_mode"])

    def images(part: torch.Tensor) -> torch.Tensor:
        return model.encode_image(scaled(fit(part), wanted["mean"], wanted["std"], device))

    def texts(part: Sequence[str]) -> torch.Tensor:
        return model.encode_text(tokenizer(list(part)).to(device))

    return Encoder(name, label, images, texts, fit, shape)


def _checked_shape(folder: Path) -> dict[str, Any]:
    """The `model_cfg` of an open_clip folder, whose `tokenizer_kwargs` open_clip hands on to transformers.

    Raises:
        UserError: a file that describes no model, or arguments that can run code.
    """
    file = folder / "open_clip_config.json"
    try:
        shape: dict[str, Any] = read_json(file)["model_cfg"]
        given = dict(shape["text_cfg"].get("tokenizer_kwargs") or {})
    except (UserError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} describes no open_clip model: {type(error).__name__}: {quoted(str(error))}") from error
    if strange := sorted(given.keys() - TOKENIZER_ARGUMENTS):
        raise UserError(
            f"{file} gives the tokenizer {', '.join(strange)}: {', '.join(sorted(TOKENIZER_ARGUMENTS))} alone are "
            "taken, as others can run code of the folder; remove them there"
        )
    return shape


def _state(file: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of a file of weights, read without running code."""
    from safetensors.torch import load_file

    if file.suffix == ".safetensors":
        return load_file(file)
    state = torch.load(file, map_location="cpu", weights_only=True)
    return state.get("state_dict", state)


def _check_open_clip(name: str, tag: str) -> None:
    """Raises UserError for an unknown model or tag, a wrong activation, or weights that can't be had.

    Weights made with QuickGELU load into a model with GELU without a word, and score worse.
    """
    import open_clip

    shape = open_clip.get_model_config(name)
    if shape is None:
        near = get_close_matches(name, open_clip.list_models(), n=8, cutoff=0.5)  # of the more than hundred
        raise unknown("open_clip model", name, near)
    known = open_clip.get_pretrained_cfg(name, tag)
    if not known:
        raise unknown(f"weights of {name}", tag, open_clip.list_pretrained_tags_by_model(name))
    quick = known.get("quick_gelu", False)
    if quick != shape.get("quick_gelu", False):
        right = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
        raise UserError(
            f"the weights '{tag}' {'need' if quick else 'were made without'} QuickGELU: write model: {right}"
        )
    repository = "/".join(known.get("hf_hub", "").split("/")[:2])
    if repository and (why := why_not(repository)):
        raise UserError(f"the weights '{tag}' of {name} ({repository}) can't be had: {why}")
