"""A vision-language model of transformers that is asked about images, and the probability of its answer.

Any model that transformers' AutoModelForImageTextToText loads with its processor serves, as Qwen2.5-VL and Qwen3-VL.
The probability is that of the answer's first token right behind the question, over the whole vocabulary. Nothing is
sampled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from configs import UserError

from .preprocessing import fitted
from .transformers_encoder import place_of, quiet

BATCH = 8
PIXELS = 768 * 768
"""Of an image, at most: larger ones are made smaller, as their tokens cost most of the time."""


class Asked:
    """A loaded model. `identity` names the weights and what else decides an answer."""

    def __init__(self, model: Any, processor: Any, identity: str, device: str, batch: int, pixels: int) -> None:
        self.model, self.processor, self.identity, self.device = model, processor, identity, device
        self.batch, self.pixels = batch, pixels

    def probabilities(self, images: torch.Tensor, questions: Sequence[str], answer: str = "Yes") -> torch.Tensor:
        """float64 (n,) in 0..1 on the CPU: of that answer to each image's question. images: uint8 (n, 3, H, W)."""
        parts = [
            self._logits(images[begin : begin + self.batch], questions[begin : begin + self.batch])
            for begin in range(0, len(questions), self.batch)
        ]
        token = self.processor.tokenizer.encode(answer, add_special_tokens=False)[0]
        return torch.cat(parts).double().softmax(-1)[:, token]

    @torch.inference_mode()
    def _logits(self, images: torch.Tensor, questions: Sequence[str]) -> torch.Tensor:
        """float32 (n, words): of the token that comes next."""
        texts = [asked(self.processor, plain(self.processor, question)) for question in questions]
        inputs = self.processor(
            text=texts, images=list(self._smaller(images)), padding=True, padding_side="left", return_tensors="pt"
        )
        inputs = {name: each.to(self.device) for name, each in inputs.items()}
        inputs["pixel_values"] = inputs["pixel_values"].to(self.model.dtype)
        found: torch.Tensor = self.model(**inputs, logits_to_keep=1).logits
        return found[:, -1].float().cpu()

    def _smaller(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        scale = (self.pixels / (height * width)) ** 0.5
        return images if scale >= 1 else fitted(images, (round(height * scale), round(width * scale)))


def asked(processor: Any, text: str) -> str:
    """What the model reads of an image and a text: its chat template, up to where its answer begins."""
    content = [{"type": "image"}, {"type": "text", "text": text}]
    talk = [{"role": "user", "content": content}]
    return str(processor.apply_chat_template(talk, tokenize=False, add_generation_prompt=True))


def plain(processor: Any, text: str) -> str:
    """The text without what the tokenizer takes for marks of its own, as a prompt may hold."""
    marks = sorted(processor.tokenizer.get_added_vocab(), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, marks)), " ", text) if marks else text


def precision(spec: Mapping[str, Any], device: str) -> tuple[str, torch.dtype]:
    """The dtype that a spec names, and its name; unless told bfloat16, float32 on a CPU. Raises UserError."""
    named = str(spec.get("dtype") or ("float32" if device == "cpu" else "bfloat16"))
    dtype = getattr(torch, named, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise UserError(f"the dtype of {spec['source']} is {named}: float32, float16 or bfloat16 is expected")
    return named, dtype


_LOADED: dict[tuple[str, str, str], Asked] = {}


def load(spec: Mapping[str, Any], device: str, models: Path) -> Asked:
    """The model of {source: FOLDER or hub name[, dtype, batch, pixels]}; loaded once a process for all metrics.

    dtype: float32, float16 or bfloat16; unless told bfloat16 where the device has it, float32 on a CPU.

    Raises:
        UserError: no such model, or one that transformers doesn't load for images and text.
    """
    key = (repr(sorted((name, spec.get(name)) for name in ("source", "dtype", "batch", "pixels"))), device, str(models))
    if key not in _LOADED:
        _LOADED[key] = _loaded(spec, device, models)
    return _LOADED[key]


def _loaded(spec: Mapping[str, Any], device: str, models: Path) -> Asked:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    if not isinstance(spec.get("source"), str):
        raise UserError(f"a vision-language model needs its source, and its YAML has {dict(spec)}")
    quiet()
    source, label = place_of(spec["source"], models)
    named, dtype = precision(spec, device)
    try:
        processor = AutoProcessor.from_pretrained(source, trust_remote_code=False)
        model = AutoModelForImageTextToText.from_pretrained(source, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"can't load the vision-language model {source}: {error}") from error
    model.to(device).eval().requires_grad_(False)
    pixels = int(spec.get("pixels", PIXELS))
    return Asked(model, processor, f"{label} {named} pixels={pixels}", device, int(spec.get("batch", BATCH)), pixels)
