"""Tiny encoders in the true formats, with random weights: an open_clip folder and a transformers ResNet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.metrics import tiny_reward, tiny_vision_language

CLIP = {"kind": "open_clip", "source": "local-dir:clip"}
RESNET = {"kind": "transformers", "source": "resnet", "mean": [0.5] * 3, "std": [0.5] * 3, "size": 32}


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `clip`, `resnet`, `vision_language` and reward models."""
    from open_clip.model import CLIP as Clip
    from safetensors.torch import save_file
    from transformers import ResNetConfig, ResNetModel

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(6)  # one whose cosines are positive, as those of a trained CLIP with fitting prompts are
    shape = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (folder / "clip").mkdir()
    look = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": shape, "preprocess_cfg": look}))
    save_file(Clip(**shape).state_dict(), folder / "clip" / "open_clip_model.safetensors")
    small = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic")
    ResNetModel(small).eval().save_pretrained(folder / "resnet")
    tiny_vision_language.save(folder / "vision_language")
    tiny_reward.save(folder, folder / "vision_language")
    return folder


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    """uint8 (24, 3, 32, 32): smooth random colours, as photographs have and white noise has not."""
    small = torch.rand(24, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    big = torch.nn.functional.interpolate(small, size=(32, 32), mode="bicubic").clamp(0, 1)
    return (big * 255).round().byte()


def encoder_of(width: int):
    """Stands for an encoder where only features are compared."""
    from metrics.encoders import Encoder

    return Encoder("none", "none", lambda part: part.flatten(1)[:, :width].float())
