"""ImageReward (Xu et al., arXiv 2304.05977): a BLIP that reads image and prompt together, and a head of five layers.

Its checkpoint is in BLIP's original layout; it is loaded into transformers' BLIP, with no package of its own. The
prompt is read as it is, cut at 35 tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import UserError, identity

from .base import Batch, Direction, Score, check_count, mean_score
from .encoders import BATCH
from .hub import weights_file
from .preprocessing import CLIP_MEAN, CLIP_STD, fitted, scaled
from .transformers_encoder import tokens_of

MEAN, STD = 0.16717362830052426, 1.0333394966054072
"""Of the head's values over its authors' data; the score is in these units."""
LENGTH = 35
SEEING = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
          "image_size": 224, "patch_size": 16, "layer_norm_eps": 1e-6}  # fmt: skip
"""BLIP's large ViT."""
READING = {"vocab_size": 30524, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
"""BLIP's med_config, a BERT's base. The weights' shapes do not tell the number of heads."""
VISION = (
    (r"^visual_encoder\.", "vision."),
    (r"blocks\.", "encoder.layers."),
    (r"attn\.proj\.", "self_attn.projection."),
    (r"attn\.qkv\.", "self_attn.qkv."),
    (r"norm([12])\.", r"layer_norm\1."),
    (r"vision\.norm\.", "vision.post_layernorm."),
    (r"patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"pos_embed$", "embeddings.position_embedding"),
    (r"cls_token$", "embeddings.class_embedding"),
)
"""BLIP's names to transformers'."""
UNUSED = re.compile(r"text_encoder\.embeddings\.position_ids|.*(vision_proj|text_proj|itm_head|_m\.|queue|temp)")

Reads = Callable[[torch.Tensor, Sequence[str]], torch.Tensor]
"""uint8 images (n, 3, H, W), n small, and their prompts to the head's values (n,)."""


class ImageReward:
    """About -2 to 2, more is better; compare under the same prompts alone."""

    name = "image_reward"
    version = "2"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, reads: Reads, identity: str | None = None) -> None:
        """identity: of what `reads` was loaded from."""
        self._reads, self.identity = reads, identity

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        parts = [slice(i, i + BATCH) for i in range(0, len(batch), BATCH)]
        with torch.inference_mode():
            found = torch.cat([self._reads(batch.images[part], batch.prompts[part]).double().cpu() for part in parts])
        return mean_score(self, np.asarray((found - MEAN) / STD))


def load(spec: Mapping[str, Any], device: str, models: Path) -> ImageReward:
    """The metric of {weights, tokenizer}: a checkpoint and a BERT's tokenizer, each a path or from the hub. A tiny one
    says its sizes in `vision` and `text`.

    Raises:
        UserError: one can't be had, or the checkpoint is no ImageReward's.
    """
    from transformers.models.blip.modeling_blip import BlipVisionModel
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    file = weights_file(spec["weights"], models)
    tokenizer, label = tokens_of(spec["tokenizer"], models)
    seeing, reading = configurations(spec)
    network = torch.nn.ModuleDict({
        "vision": BlipVisionModel(seeing),
        "text": BlipTextModel(reading, add_pooling_layer=False),
        "head": torch.nn.Sequential(*_head(reading.hidden_size)),
    })  # fmt: skip
    try:
        state = _renamed(torch.load(file, map_location="cpu", weights_only=True))
        network.load_state_dict(state)
    except Exception as error:  # damaged, foreign, or a pickle with code: each with its own class
        raise UserError(f"{file} is no ImageReward checkpoint: {' '.join(str(error).split())[:300]}") from error
    network.to(device).eval().requires_grad_(False)

    def reads(images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        pixels = fitted(images, (seeing.image_size,) * 2, mode="shortest")
        seen = network["vision"](scaled(pixels, CLIP_MEAN, CLIP_STD, device)).last_hidden_state
        text = tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
        ).to(device)
        found = network["text"](
            text.input_ids,
            attention_mask=text.attention_mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=device),
        )
        return network["head"](found.last_hidden_state[:, 0])[:, 0]

    return ImageReward(reads, f"{identity(file)} tokenizer={label}")


def configurations(spec: Mapping[str, Any]) -> tuple[Any, Any]:
    """(BlipVisionConfig, BlipTextConfig): ImageReward's own, but for what `vision` and `text` say."""
    from transformers import BlipTextConfig, BlipVisionConfig

    seeing = BlipVisionConfig(**{**SEEING, **spec.get("vision", {})})
    beside = {"encoder_hidden_size": seeing.hidden_size, "is_decoder": True}
    return seeing, BlipTextConfig(**{**READING, **beside, **spec.get("text", {})})


def _head(width: int) -> list[torch.nn.Module]:
    """Linear layers with nothing between them but dropout, which rests here."""
    widths = (width, 1024, 128, 64, 16, 1)
    layers: list[torch.nn.Module] = []
    for i, (wide, narrow) in enumerate(pairwise(widths)):
        layers += [torch.nn.Linear(wide, narrow)] + ([torch.nn.Identity()] if i < 3 else [])
    return layers


def _renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name, value in state.items():
        name = name.removeprefix("blip.")
        if UNUSED.fullmatch(name):
            continue
        if name.startswith("visual_encoder."):
            for theirs, ours in VISION:
                name = re.sub(theirs, ours, name)
        name = re.sub(r"^text_encoder\.", "text.", name)
        found[re.sub(r"^mlp\.layers\.", "head.", name)] = value
    return found
