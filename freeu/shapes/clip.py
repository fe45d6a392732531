"""The embedded CLIP, in open_clip's format, and the aesthetic head on its image embeddings.

One contrastive model for captions and images, as OpenAI's. Half of its images are degraded on purpose, and a linear
output is trained beside the contrast to tell by how much, so that its embedding keeps quality as well as content: large
CLIPs learn that from captions that speak of quality, which a grammar of shapes lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .caption import MAX_TOKENS
from .data import Scenes
from .degrade import degrade, score
from .loop import Draw, Plan, train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EMBEDDING = 128
MEAN = STD = (0.5, 0.5, 0.5)
QUALITY_WEIGHT = 0.1


def config(vocabulary: int) -> dict:
    """open_clip_config.json: a modified ResNet for 64-pixel images and a two-layer text tower."""
    return {
        "model_cfg": {
            "embed_dim": EMBEDDING,
            "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 24, "head_width": 64},
            "text_cfg": {
                "context_length": MAX_TOKENS,
                "vocab_size": vocabulary,
                "width": EMBEDDING,
                "heads": 4,
                "layers": 2,
                "hf_tokenizer_name": "tokenizer",
                "tokenizer_kwargs": {"clean": "whitespace"},
            },
        },
        "preprocess_cfg": {
            "mean": list(MEAN),
            "std": list(STD),
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }


class Judge(nn.Module):
    """The CLIP and its quality output as one, so that they are trained, averaged and kept together."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        from open_clip.model import CLIP

        self.clip = CLIP(**config(vocabulary)["model_cfg"])
        self.quality = nn.Linear(EMBEDDING, 1)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """L2-normalised embeddings (n, 128) of uint8 images (n, 3, 64, 64)."""
        return self.clip.encode_image(images.float() / 127.5 - 1, normalize=True)


def fit(data: Scenes, tokenizer: PreTrainedTokenizerBase, work: Path, steps: int, seed: int, batch: int = 96) -> Judge:
    """Contrast over a batch, plus the squared error of the quality (score 1 to 10, in units of 9)."""
    torch.manual_seed(seed)
    net = Judge(len(tokenizer))

    def loss(draw: Draw) -> torch.Tensor:
        chosen = draw.numpy.integers(len(data), size=batch)
        amounts = draw.numpy.random(batch) * (draw.numpy.random(batch) < 0.7)
        images = degrade(data.images[chosen], amounts, draw.numpy)
        words = data.captions(chosen, draw.numpy)
        tokens = tokenizer(words, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
        seen = net.embed(images)
        said = net.clip.encode_text(tokens.input_ids, normalize=True)
        alike = net.clip.logit_scale.exp().clamp(max=100) * seen @ said.T
        pairs = torch.arange(batch)
        contrast = (F.cross_entropy(alike, pairs) + F.cross_entropy(alike.T, pairs)) / 2
        quality = net.quality(seen)[:, 0] - torch.from_numpy((score(amounts) - 5.5) / 9).float()
        return contrast + QUALITY_WEIGHT * 10 * quality.square().mean()

    return train(net, loss, Plan("clip", steps, 1e-3, average=0.995, seed=seed), work)


def save(net: Judge, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the CLIP as an open_clip `local-dir:` folder, in half precision."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in net.clip.state_dict().items()
    }
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(config(len(tokenizer)), indent=2) + "\n")
    tokenizer.save_pretrained(folder)


def fit_head(embed: Callable[[torch.Tensor], np.ndarray], data: Scenes, seed: int) -> tuple[np.ndarray, float]:
    """The aesthetic head by ridge regression on frozen embeddings: weight (128,) and bias, scores 1 to 10.

    `embed` maps uint8 images to L2-normalised embeddings (n, 128) as the saved CLIP gives them.
    """
    rng = np.random.default_rng(seed)
    amounts = rng.random(len(data)) * (rng.random(len(data)) < 0.85)
    x = np.asarray(embed(degrade(data.images, amounts, rng)), np.float64)
    y = score(amounts)
    centre = x.mean(axis=0)
    gram = (x - centre).T @ (x - centre)
    weight = np.linalg.solve(gram + 1e-4 * len(x) * np.eye(x.shape[1]) / x.shape[1], (x - centre).T @ (y - y.mean()))
    return weight, float(y.mean() - centre @ weight)
