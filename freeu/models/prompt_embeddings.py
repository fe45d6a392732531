"""What the U-Net is told of the prompts: each prompt's text embedding, made once and kept for all candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from configs import UserError

Text = tuple[torch.Tensor, torch.Tensor | None]
"""Embeddings (1, tokens, width) and, for SDXL, the pooled ones (1, width)."""
ENCODERS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))


class PromptEmbeddings:
    """Of a diffusers pipeline with text encoders.

    max_tokens: those that all of its text encoders take.
    """

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        """Raises UserError where the pipeline has no text encoder."""
        self._pipeline, self._device = pipeline, device
        self._is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        self._kept: dict[str | None, Text] = {}  # None: the negative prompt's
        found = [
            (getattr(pipeline, tokenizer, None), getattr(pipeline, encoder, None)) for tokenizer, encoder in ENCODERS
        ]
        used = [(tokenizer, encoder) for tokenizer, encoder in found if tokenizer is not None and encoder is not None]
        if not used:
            raise UserError(f"the {type(pipeline).__name__} has no text encoder: it can't be told a prompt")
        self._tokenizers = [tokenizer for tokenizer, _ in used]
        self.max_tokens: int = min(
            min(tokenizer.model_max_length, encoder.config.max_position_embeddings) for tokenizer, encoder in used
        )

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that a text encoder would cut."""
        return [
            prompt
            for prompt in prompts
            if max(len(tokenizer(prompt).input_ids) for tokenizer in self._tokenizers) > self.max_tokens
        ]

    def embed(self, prompts: Sequence[str]) -> None:
        """Encodes each new prompt once and by itself, so that its embedding doesn't depend on neighbours."""
        for prompt in dict.fromkeys(prompts):
            if prompt in self._kept:
                continue
            if all(getattr(self._pipeline, encoder, None) is None for _, encoder in ENCODERS):
                raise ValueError(f"the prompt {prompt!r} is not among those of prepare(), and the encoders are freed")
            found = self._pipeline.encode_prompt(
                prompt=prompt,
                device=self._device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=None not in self._kept,
            )
            embeds, negative, pooled, negative_pooled = found if self._is_xl else (*found, None, None)
            self._kept[prompt] = (embeds, pooled)
            if negative is not None:
                self._kept[None] = (negative, negative_pooled)

    def free(self) -> None:
        """Drops the text encoders."""
        for _, encoder in ENCODERS:
            if getattr(self._pipeline, encoder, None) is not None:
                setattr(self._pipeline, encoder, None)

    def of(self, prompts: Sequence[str], guided: bool) -> Text:
        """Embeddings (n, tokens, width) and pooled ones (n, width) of embedded prompts; under guidance the negative
        prompt's come first, as many again."""
        empty: list[str | None] = [None] * len(prompts) if guided else []
        texts = [self._kept[name] for name in [*empty, *prompts]]
        pooled = [each for _, each in texts if each is not None]
        return torch.cat([embeds for embeds, _ in texts]), torch.cat(pooled) if pooled else None
