"""Encoders of transformers: a CLIPModel with its tokenizer, or any vision model with a pooled output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from configs import UserError, identity

from .encoders import Encoder
from .hub import why_not
from .preprocessing import CLIP_MEAN, CLIP_STD, fitted, scaled


def load_clip(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    """The encoder of {kind: clip, …}; see `metrics.encoders.encoder`. Raises UserError."""
    from transformers import CLIPModel

    quiet()
    source, label = place_of(spec["source"], models)
    tokenizer, read_by = tokens_of(spec.get("tokenizer", spec["source"]), models)
    if read_by != label:
        label += f" tokenizer={read_by}"
    try:
        model = CLIPModel.from_pretrained(source, dtype=torch.float32).to(device).eval().requires_grad_(False)
    except (OSError, ValueError) as error:
        raise UserError(f"can't load the encoder {source}: {error}") from error
    side, limit = model.config.vision_config.image_size, model.config.text_config.max_position_embeddings
    fit = partial(fitted, size=(side, side), mode="shortest")

    def images(part: torch.Tensor) -> torch.Tensor:
        seen = model.vision_model(scaled(fit(part), CLIP_MEAN, CLIP_STD, device))
        return model.visual_projection(seen.pooler_output)

    def texts(part: Sequence[str]) -> torch.Tensor:
        read = tokenizer(list(part), padding="max_length", max_length=limit, truncation=True, return_tensors="pt")
        return model.text_projection(model.text_model(**read.to(device)).pooler_output)

    return Encoder(str(spec["source"]), label, images, texts, fit)


def load_vision(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    """The encoder of {kind: transformers, …}; see `metrics.encoders.encoder`. Raises UserError."""
    from transformers import AutoModel

    quiet()
    source, label = place_of(spec["source"], models)
    mean, std = (",".join(str(float(each)) for each in spec[name]) for name in ("mean", "std"))
    label += f" size={spec['size']} mean={mean} std={std}"
    try:
        model = AutoModel.from_pretrained(source, dtype=torch.float32, trust_remote_code=False)
        model.to(device).eval().requires_grad_(False)
    except (OSError, ValueError) as error:
        raise UserError(f"can't load the encoder {source}: {error}") from error
    fit = partial(fitted, size=(spec["size"], spec["size"]))

    def images(part: torch.Tensor) -> torch.Tensor:
        return model(scaled(fit(part), spec["mean"], spec["std"], device)).pooler_output.flatten(1)

    return Encoder(str(spec["source"]), label, images, fit=fit)


def tokens_of(given: str, models: Path) -> tuple[Any, str]:
    """(tokenizer in transformers' format, what names it), of a folder or the hub. Raises UserError."""
    from transformers import AutoTokenizer

    place, label = place_of(given, models)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False), label
    except (OSError, ValueError) as error:
        raise UserError(f"can't load the tokenizer {place}: {error}") from error


def quiet() -> None:
    """Transformers' notes are for developers, and its bars would fight with ours."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def place_of(given: str, models: Path) -> tuple[Path | str, str]:
    """(folder or name of the hub, what names it) of a model in transformers' format."""
    folder = models / given
    if folder.is_dir():
        return folder, identity(folder)
    if why := why_not(given):
        raise UserError(f"can't load the encoder '{given}': no such folder in {models}; as a name of the hub: {why}")
    return given, f"hub:{given}"
