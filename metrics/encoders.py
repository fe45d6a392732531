"""Networks that turn images (and texts) into vectors; several metrics share the embeddings of one.

Images are resized as uint8, bicubic and antialiased, as Pillow does and clean-fid asks for, and only where their size
isn't the encoder's own. An encoder's identity names its weights: heads and references made with another are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from configs import UserError, identity, unknown

BATCH = 64


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder.

    Attributes:
        identity: names the weights, by content for a folder, by name for the hub's.
        images: from uint8 (n, 3, H, W), n small, to (n, d) on the encoder's device, not normalised.
        texts: from n strings to (n, d), or None for an encoder of images alone.
    """

    name: str
    identity: str
    images: Callable[[torch.Tensor], torch.Tensor]
    texts: Callable[[Sequence[str]], torch.Tensor] | None = None

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (n, d) on the CPU, from uint8 (n, 3, H, W)."""
        with torch.inference_mode():
            return torch.cat([self.images(part).float().cpu() for part in images.split(BATCH)])

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 (n, d) on the CPU."""
        if self.texts is None:
            raise UserError(f"the encoder {self.name} reads images alone; a score of prompts needs an open_clip model")
        with torch.inference_mode():
            parts = [self.texts(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
            return torch.cat([part.float().cpu() for part in parts])


_LOADED: dict[tuple[str, str], Encoder] = {}


def encoder(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    """The encoder that a model's YAML names; loaded once a process.

    Args:
        spec: kind and what it needs: {kind: open_clip, source: "local-dir:PATH"} or {kind: open_clip, model,
            pretrained}; {kind: transformers, source, mean, std, size}; {kind: inception[, weights]}.
        models: what relative paths are relative to.

    Raises:
        UserError: an unknown kind, or weights that can't be had.
    """
    key = (repr(sorted(spec.items(), key=str)), device)
    if key not in _LOADED:
        kinds = {"open_clip": _open_clip, "transformers": _transformers, "inception": _inception}
        if spec.get("kind") not in kinds:
            raise unknown("kind of encoder", str(spec.get("kind")), kinds)
        _LOADED[key] = kinds[spec["kind"]](spec, device, models)
    return _LOADED[key]


def fitted(images: torch.Tensor, size: tuple[int, int], interpolation: str = "bicubic", mode: str = "squash"):
    """uint8 images of the size asked for; "shortest" keeps the shape and crops the middle, "squash" doesn't."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    if tuple(images.shape[-2:]) == size:
        return images
    kind = InterpolationMode(interpolation)
    if mode == "squash":
        return functional.resize(images, list(size), kind, antialias=True)
    if mode != "shortest":
        raise UserError(f"an encoder asks for resizing by {mode!r}: 'squash' and 'shortest' are known")
    return functional.center_crop(functional.resize(images, [min(size)], kind, antialias=True), list(size))


def _scaled(images: torch.Tensor, mean: Sequence[float], std: Sequence[float], device: str) -> torch.Tensor:
    shape = (1, 3, 1, 1)
    pixels = images.to(device).float() / 255
    return (pixels - torch.tensor(mean, device=device).view(shape)) / torch.tensor(std, device=device).view(shape)


def _open_clip(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    import open_clip

    if "source" in spec:
        folder = models / str(spec["source"]).removeprefix("local-dir:")
        if not (folder / "open_clip_config.json").is_file():
            raise UserError(f"{folder} is no open_clip folder: it lacks open_clip_config.json")
        name, pretrained, label = f"local-dir:{folder}", None, identity(folder)
    else:
        name, pretrained = spec["model"], spec["pretrained"]
        if pretrained == "openai" and not name.endswith("quickgelu"):
            raise UserError(f"OpenAI's weights need QuickGELU: write model: {name}-quickgelu")
        label = f"open_clip:{name}/{pretrained}"
    try:
        model = open_clip.create_model(name, pretrained=pretrained, precision="fp32", device=device)
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # each loader and download of open_clip's raises its own
        raise UserError(f"can't load the open_clip model {spec.get('source') or label}: {error}") from error
    model.eval().requires_grad_(False)
    wanted = open_clip.get_model_preprocess_cfg(model)
    side = wanted["size"]
    size = (side, side) if isinstance(side, int) else tuple(side)

    def images(part: torch.Tensor) -> torch.Tensor:
        part = fitted(part, size, wanted["interpolation"], wanted["resize_mode"])
        return model.encode_image(_scaled(part, wanted["mean"], wanted["std"], device))

    return Encoder(name, label, images, lambda texts: model.encode_text(tokenizer(list(texts)).to(device)))


def _transformers(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    from transformers import AutoModel

    folder = models / spec["source"]
    source, label = (folder, identity(folder)) if folder.is_dir() else (spec["source"], f"hub:{spec['source']}")
    try:
        model = AutoModel.from_pretrained(source, dtype=torch.float32).to(device).eval().requires_grad_(False)
    except (OSError, ValueError) as error:
        raise UserError(f"can't load the encoder {source}: {error}") from error
    size = (spec["size"], spec["size"])

    def images(part: torch.Tensor) -> torch.Tensor:
        scaled = _scaled(fitted(part, size), spec["mean"], spec["std"], device)
        return model(scaled).pooler_output.flatten(1)

    return Encoder(str(spec["source"]), label, images)


def _inception(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    from torchmetrics.image.fid import NoTrainInceptionV3

    weights = spec.get("weights")
    try:
        model = NoTrainInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=weights)
    except Exception as error:  # a download's or a file's, each with its own class
        raise UserError(
            f"Inception's weights can't be had ({type(error).__name__}: {error}); where there is no network, give "
            "the file that torch-fidelity uses: fid: {encoder: {kind: inception, weights: FILE}}"
        ) from error
    model.to(device).requires_grad_(False)
    label = f"inception:{identity(Path(weights))}" if weights else "inception-v3-compat"
    return Encoder("Inception v3", label, lambda part: model(fitted(part, (299, 299)).to(device)))
