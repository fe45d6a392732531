"""What the U-Net is told of the prompts, negative ones too: text embeddings, made once and kept for all candidates."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from configs import UserError

from . import memory

Text = tuple[torch.Tensor, torch.Tensor | None]
"""Embeddings (1, tokens, width) and, for SDXL, the pooled ones (1, width)."""
ENCODERS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))


class PromptEmbeddings:
    """Of a diffusers pipeline with text encoders.

    max_tokens: those that all of its text encoders take. layers: of the text encoder that has the fewest.
    """

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        """Raises UserError where the pipeline has no text encoder."""
        self._pipeline = pipeline
        self._is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        named = inspect.signature(pipeline.encode_prompt).parameters
        count = next(name for name in named if name in ("num_images_per_prompt", "num_videos_per_prompt"))
        self._one: dict[str, Any] = {"device": device, count: 1}
        self._prompts: dict[tuple[str, int | None], Text] = {}
        self._negatives: dict[str, Text] = {}
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
        self.layers: int = min(encoder.config.num_hidden_layers for _, encoder in used)

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that a text encoder would cut."""
        return [
            prompt
            for prompt in prompts
            if max(len(tokenizer(prompt).input_ids) for tokenizer in self._tokenizers) > self.max_tokens
        ]

    def embed(self, prompts: Sequence[str], negatives: Sequence[str] = (), clip_skip: int | None = None) -> None:
        """Encodes each new text once and by itself, so that its embedding doesn't depend on neighbours.

        clip_skip: as in `freeu.sampling.Sampling`. A negative prompt is read without, as diffusers has it.
        """
        skipped = self._skipped(clip_skip)
        for prompt in dict.fromkeys(prompts):
            if (prompt, skipped) not in self._prompts:
                self._prompts[prompt, skipped] = self._encode(prompt, skipped)
        for negative in dict.fromkeys(negatives):
            if negative not in self._negatives:
                self._negatives[negative] = self._encode_negative(negative)

    def _encode(self, prompt: str, skipped: int | None) -> Text:
        how = {} if skipped is None else {"clip_skip": skipped}
        encoder = getattr(self._pipeline, "text_encoder", None)
        if how and encoder is not None and not hasattr(encoder, "text_model"):
            # diffusers reads the last layer norm there, where transformers 5 no longer has it.
            object.__setattr__(encoder, "text_model", encoder)
        found = self._encoder(prompt)(prompt=prompt, do_classifier_free_guidance=False, **self._one, **how)
        return found[0], found[2] if self._is_xl else None

    def _encode_negative(self, negative: str) -> Text:
        """Of "" it is what the pipeline has for none: SDXL's base model zeros."""
        encode = self._encoder(negative)
        found = encode(prompt="", negative_prompt=negative or None, do_classifier_free_guidance=True, **self._one)
        return found[1], found[3] if self._is_xl else None

    def _encoder(self, text: str) -> Any:
        if all(getattr(self._pipeline, encoder, None) is None for _, encoder in ENCODERS):
            raise ValueError(f"the prompt {text!r} is not among those of prepare(), and the encoders are freed")
        return self._pipeline.encode_prompt

    def _skipped(self, clip_skip: int | None) -> int | None:
        """As diffusers counts: layers beyond the one that is read unasked, the last or, of SDXL, the one before it. The
        web UI's 1 is that one too on SDXL."""
        skipped = (clip_skip or 1) - (2 if self._is_xl else 1)
        return skipped if skipped > 0 else None

    def free(self) -> None:
        """Drops the text encoders."""
        for _, encoder in ENCODERS:
            if getattr(self._pipeline, encoder, None) is not None:
                setattr(self._pipeline, encoder, None)
        memory.give_back()

    def of(self, prompts: Sequence[str], negatives: Sequence[str] = (), clip_skip: int | None = None) -> Text:
        """Embeddings (n, tokens, width) and pooled ones (n, width) of embedded texts: the negative prompts' come first,
        one for each prompt under guidance, else none."""
        skipped = self._skipped(clip_skip)
        texts = [self._negatives[text] for text in negatives] + [self._prompts[text, skipped] for text in prompts]
        pooled = [each for _, each in texts if each is not None]
        return torch.cat([embeds for embeds, _ in texts]), torch.cat(pooled) if pooled else None
