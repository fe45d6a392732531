"""Pipelines of the true sizes with random weights: how fast they are doesn't depend on the values.

`unet.py` and `trial.py` time them. "toy" is as small as these networks can be, for tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

UNETS: dict[str, dict[str, Any]] = {
    "sd15": dict(block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8),
    "sdxl": dict(
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=2048,
        attention_head_dim=(5, 10, 20),
        use_linear_projection=True,
    ),
    "toy": dict(block_out_channels=(16, 32, 64, 64), cross_attention_dim=16, attention_head_dim=2, norm_num_groups=8),
}
SIDES = {"sd15": 64, "sdxl": 128, "toy": 16}
"""Of the latents; an image has 8 times as many pixels a side."""


@dataclass(frozen=True)
class Tower:
    """A CLIP text encoder's size."""

    width: int
    layers: int
    heads: int


TOWERS = {"sd15": [Tower(768, 12, 12)], "sdxl": [Tower(768, 12, 12), Tower(1280, 32, 20)], "toy": [Tower(16, 1, 2)]}
DECODERS = {"sd15": (128, 256, 512, 512), "sdxl": (128, 256, 512, 512), "toy": (8, 8, 8, 8)}
POOLED, TIMES = 1280, 256
"""SDXL's U-Net is told the pooled text, and six numbers of the picture's size in so many waves each."""


def unet(size: str, device: str = "cpu") -> Any:
    """A UNet2DConditionModel in float32; SDXL's without what it is told beside the text."""
    return _unet(size, {}, device)


def _unet(size: str, more: dict[str, Any], device: str) -> Any:
    from diffusers import UNet2DConditionModel
    from diffusers.utils import logging

    logging.set_verbosity_error()
    torch.manual_seed(0)
    with torch.device(device):  # a card draws SDXL's weights in a moment, a CPU in half a minute
        return UNet2DConditionModel(sample_size=SIDES[size], **UNETS[size], **more).eval()


def pipeline(size: str, tokenizer: Any, device: str = "cpu") -> Any:
    """A StableDiffusionPipeline or StableDiffusionXLPipeline in float32, its U-Net on the device already and the rest
    on the CPU. tokenizer: of any CLIP.
    """
    import diffusers
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    beta = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    common = dict(tokenizer=tokenizer, vae=_vae(size), scheduler=diffusers.DPMSolverMultistepScheduler(**beta))
    towers = [_tower(tower, tokenizer) for tower in TOWERS[size]]
    if len(towers) == 1:
        return diffusers.StableDiffusionPipeline(
            **common,
            unet=_unet(size, {}, device),
            text_encoder=CLIPTextModel(towers[0]).eval(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    told = dict(
        addition_embed_type="text_time",
        addition_time_embed_dim=TIMES,
        projection_class_embeddings_input_dim=POOLED + 6 * TIMES,
    )
    return diffusers.StableDiffusionXLPipeline(
        **common,
        unet=_unet(size, told, device),
        text_encoder=CLIPTextModel(towers[0]).eval(),
        text_encoder_2=CLIPTextModelWithProjection(towers[1]).eval(),
        tokenizer_2=tokenizer,
    )


def _tower(tower: Tower, tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig

    end = tokenizer.eos_token_id
    return CLIPTextConfig(
        vocab_size=max(49408, len(tokenizer)) if tower.width > 16 else len(tokenizer),
        hidden_size=tower.width,
        intermediate_size=4 * tower.width,
        projection_dim=tower.width,
        num_hidden_layers=tower.layers,
        num_attention_heads=tower.heads,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=end,
        pad_token_id=end,
    )


def _vae(size: str) -> Any:
    from diffusers import AutoencoderKL

    widths = DECODERS[size]
    return AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        latent_channels=4,
        norm_num_groups=min(32, widths[0] // 2),
        sample_size=8 * SIDES[size],
        scaling_factor=0.18215,
        force_upcast=False,
    ).eval()


def metrics(size: str, device: str) -> dict[str, Any]:
    """clip, aesthetic and fid on networks of the size that people score with, ViT-L/14 and Inception, at random."""
    import configs
    from metrics import build

    if size == "toy":
        spec, models = configs.read_yaml(configs.path("models", "shapes.yaml")), configs.path("models")
        return {
            name: build(name, spec["scorers"], device, models, spec["reference"])
            for name in ("clip", "aesthetic", "fid")
        }
    import numpy as np
    import open_clip
    from torchvision.models import inception_v3

    from metrics.aesthetic import AestheticScore
    from metrics.base import Metric
    from metrics.clip import ClipScore
    from metrics.encoders import Encoder
    from metrics.fid import Fid
    from metrics.preprocessing import CLIP_MEAN, CLIP_STD, fitted, scaled
    from metrics.reference import Reference

    tower = open_clip.create_model("ViT-L-14", precision="fp32", device=device).eval()
    tokens = open_clip.get_tokenizer("ViT-L-14")
    clip = Encoder(
        "ViT-L/14",
        "ViT-L/14 at random",
        lambda part: tower.encode_image(scaled(fitted(part, (224, 224)), CLIP_MEAN, CLIP_STD, device)),
        lambda texts: tower.encode_text(tokens(list(texts)).to(device)),
    )
    trunk = inception_v3(weights=None, init_weights=False, transform_input=False).to(device).eval()
    trunk.fc = torch.nn.Identity()
    half = (0.5, 0.5, 0.5)
    inception = Encoder(
        "Inception", "Inception at random", lambda part: trunk(scaled(fitted(part, (299, 299)), half, half, device))
    )
    rng = np.random.default_rng(0)
    direction = rng.normal(size=768)
    found: list[Metric] = [
        ClipScore(clip),
        AestheticScore(clip, lambda embeddings: embeddings @ direction),
        Fid(inception, Reference.of(rng.normal(size=(4096, 2048)))),
    ]
    return {metric.name: metric for metric in found}
