"""Texts embedded once: the prompts of a study are the same in every trial."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from .encoders import Encoder


class Texts:
    """The texts that an encoder has read."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, torch.Tensor] = {}

    def of(self, texts: Sequence[str]) -> torch.Tensor:
        """L2-normalised embeddings (n, d), float32 on the CPU."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, F.normalize(self._encoder.embed_texts(new), dim=-1), strict=True))
        return torch.stack([self._known[text] for text in texts])
