"""Networks that turn images (and texts) into vectors; several metrics share the embeddings of one.

An encoder's identity names its weights, and the settings that decide what they see: heads and references made with
another are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from configs import UserError, unknown
from configs.shortages import is_shortage

BATCH = 64


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder.

    Attributes:
        identity: names the weights, by content for a folder, by name for the hub's; behind a space what else decides an
            embedding and is set in the YAML.
        images: from uint8 (n, 3, H, W), n small, to (n, d) on the encoder's device, not normalised.
        texts: from n strings to (n, d), or None for an encoder of images alone.
        fit: resizes uint8 images as this encoder does itself; None where it takes any size.
        shape: open_clip's `model_cfg` where the weights are from this disk, so that nothing tells whose they are.
    """

    name: str
    identity: str
    images: Callable[[torch.Tensor], torch.Tensor]
    texts: Callable[[Sequence[str]], torch.Tensor] | None = None
    fit: Callable[[torch.Tensor], torch.Tensor] | None = None
    shape: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (n, d) on the CPU, from uint8 (n, 3, H, W)."""
        found, size, start = [], BATCH, 0
        with torch.inference_mode():
            while start < len(images):
                try:
                    found.append(self.images(images[start : start + size]).float().cpu())
                    start += size
                except Exception as error:
                    if size == 1 or not is_shortage(error):
                        raise
                    size //= 2
                    if torch.cuda.is_available():
                        torch.cuda.empty_cache()
        return torch.cat(found)

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 (n, d) on the CPU."""
        if self.texts is None:
            raise UserError(f"the encoder {self.name} reads images alone; a score of prompts needs an open_clip model")
        with torch.inference_mode():
            parts = [self.texts(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
            return torch.cat([part.float().cpu() for part in parts])


def made_with(named: str, encoder: str) -> bool:
    """Whether a file that names its encoder was made with the one of this identity.

    A file that names weights alone, as `configs.identity` does, fits them under all settings.
    """
    return named in (encoder, encoder.partition(" ")[0])


def short(identity: str) -> str:
    """An encoder's identity for a message: its settings whole, as they may be all that differs."""
    weights, space, settings = identity.partition(" ")
    return weights[:48] + space + settings


_LOADED: dict[tuple[str, str, str], Encoder] = {}


def encoder(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    """The encoder that a model's YAML names; loaded once a process.

    Args:
        spec: kind and what it needs: {kind: open_clip, source: "local-dir:PATH"} or {kind: open_clip, model,
            pretrained}, in place of pretrained also weights: FILE or {repository, file} of the hub; {kind: clip,
            source[, tokenizer]} for a CLIPModel of transformers; {kind: transformers, source, mean, std, size};
            {kind: inception[, weights]}.
        models: what relative paths are relative to.

    Raises:
        UserError: an unknown kind, or weights that can't be had.
    """
    if not isinstance(spec, Mapping):
        raise UserError(f"an encoder is {spec!r}: 'key: value' lines are expected, the first of them its kind")
    key = (repr(sorted(spec.items(), key=str)), device, str(models.resolve()))
    if key not in _LOADED:
        from .inception_encoder import load_inception
        from .open_clip_encoder import load_open_clip
        from .transformers_encoder import load_clip, load_vision

        kinds = {
            "open_clip": load_open_clip,
            "clip": load_clip,
            "transformers": load_vision,
            "inception": load_inception,
        }
        kind = str(spec.get("kind"))
        if kind not in kinds:
            raise unknown("kind of encoder", kind, kinds)
        try:
            _LOADED[key] = kinds[kind](spec, device, models)
        except KeyError as error:
            raise UserError(f"an encoder of kind '{kind}' needs {error}, and its YAML has {dict(spec)}") from error
        except (TypeError, ValueError, AttributeError) as error:  # a text for a number, a number for a list
            raise UserError(f"no encoder of kind '{kind}' is made of {dict(spec)}: {error}") from error
    return _LOADED[key]
