"""Every kind of U-Net that FreeU runs on, small and with random weights, each with a way to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

WORDS, FRAMES = 16, 3
COMMON = dict(sample_size=16, norm_num_groups=4)
LEVELS = (8, 16, 32, 32)


@dataclass(frozen=True)
class Kind:
    """make: the U-Net; sample: the shape of its first input after the batch, with a map of 16 x 16 last."""

    make: Callable[[], nn.Module]
    sample: tuple[int, ...] = (4,)
    more: Callable[[int, Any, tuple[int, int]], dict[str, Any]] = lambda batch, draw, size: {
        "encoder_hidden_states": draw(batch, 7, WORDS)
    }
    frames: int = 1
    ours_alone: bool = False
    """diffusers has no enable_freeu for it, or ignores it."""
    odd: tuple[int, int] = (13, 11)
    """A size that halves to maps of odd sides; what can't take one halves evenly."""


def _condition(**more: Any) -> nn.Module:
    from diffusers import UNet2DConditionModel

    settings = dict(block_out_channels=LEVELS, layers_per_block=2, cross_attention_dim=WORDS, attention_head_dim=2)
    return UNet2DConditionModel(**COMMON | settings | more)


def _sdxl(**more: Any) -> nn.Module:
    return _condition(
        block_out_channels=LEVELS[:3],
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 3),
        use_linear_projection=True,
        **more,
    )


def _refiner() -> nn.Module:
    return _condition(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )


def _simple() -> nn.Module:
    return _condition(
        block_out_channels=LEVELS[:3],
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attention_head_dim=8,
    )


def _unconditional() -> nn.Module:
    from diffusers import UNet2DModel

    blocks = dict(
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    return UNet2DModel(block_out_channels=LEVELS[:3], attention_head_dim=2, **COMMON, **blocks)


def _text_to_video() -> nn.Module:
    from diffusers import UNet3DConditionModel

    settings = dict(layers_per_block=2, cross_attention_dim=WORDS, attention_head_dim=4)
    return UNet3DConditionModel(block_out_channels=LEVELS, **COMMON, **settings)


def _image_to_video() -> nn.Module:
    from diffusers import I2VGenXLUNet

    return I2VGenXLUNet(
        block_out_channels=LEVELS,
        layers_per_block=2,
        cross_attention_dim=WORDS,
        attention_head_dim=4,
        num_attention_heads=2,
        **COMMON,
    )


def _controlled() -> nn.Module:
    from diffusers import ControlNetXSAdapter, UNetControlNetXSModel

    unet = _condition()
    return UNetControlNetXSModel.from_unet(unet, ControlNetXSAdapter.from_unet(unet, size_ratio=0.5))


def _split() -> nn.Module:
    """As `enable_free_noise_split_inference` of AnimateDiff's pipelines leaves the decoder."""
    from diffusers.pipelines.free_noise_utils import SplitInferenceModule

    unet = _motion()
    for block in unet.up_blocks:
        for i, resnet in enumerate(block.resnets):
            block.resnets[i] = SplitInferenceModule(resnet, 2, 0, ["input_tensor", "temb"])
    return unet


def _motion() -> nn.Module:
    from diffusers import UNetMotionModel

    return UNetMotionModel(
        block_out_channels=LEVELS,
        cross_attention_dim=WORDS,
        num_attention_heads=2,
        motion_num_attention_heads=2,
        motion_max_seq_length=8,
        **COMMON,
    )


def _stable_video() -> nn.Module:
    from diffusers import UNetSpatioTemporalConditionModel

    return UNetSpatioTemporalConditionModel(
        sample_size=16,
        block_out_channels=(32, 64, 128, 128),  # its blocks have 32 groups, whatever one asks for
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=2,
        cross_attention_dim=WORDS,
        num_attention_heads=(2, 2, 4, 4),
        num_frames=FRAMES,
    )


KINDS: dict[str, Kind] = {
    "sd15": Kind(_condition),
    "sdxl": Kind(_sdxl),
    "sdxl refiner": Kind(_refiner),
    "inpainting": Kind(lambda: _condition(in_channels=9), (9,)),
    "without a mid block": Kind(lambda: _condition(mid_block_type=None)),
    "controlnet-xs": Kind(
        _controlled,
        more=lambda batch, draw, size: {
            "encoder_hidden_states": draw(batch, 7, WORDS),
            "controlnet_cond": draw(batch, 3, 8 * size[0], 8 * size[1]),
        },
        odd=(24, 40),
    ),
    "simple cross-attention": Kind(_simple, ours_alone=True, odd=(12, 20)),
    "unconditional": Kind(_unconditional, (3,), lambda batch, draw, size: {}, ours_alone=True, odd=(12, 20)),
    "modelscope": Kind(_text_to_video, (4, FRAMES), frames=FRAMES),
    "i2vgen-xl": Kind(
        _image_to_video,
        (4, FRAMES),
        lambda batch, draw, size: {
            "fps": torch.tensor([8] * batch),
            "image_latents": draw(batch, 4, FRAMES, *size),
            "image_embeddings": draw(batch, WORDS),
            "encoder_hidden_states": draw(batch, 7, WORDS),
        },
        frames=FRAMES,
    ),
    "animatediff": Kind(
        _motion,
        (4, FRAMES),
        # its pipeline repeats the words for every frame
        lambda batch, draw, size: {"encoder_hidden_states": draw(batch, 7, WORDS).repeat_interleave(FRAMES, dim=0)},
        frames=FRAMES,
    ),
    "freenoise": Kind(
        _split,
        (4, FRAMES),
        lambda batch, draw, size: {"encoder_hidden_states": draw(batch, 7, WORDS).repeat_interleave(FRAMES, dim=0)},
        frames=FRAMES,
    ),
    "stable video diffusion": Kind(
        _stable_video,
        (FRAMES, 8),
        lambda batch, draw, size: {"encoder_hidden_states": draw(batch, 1, WORDS), "added_time_ids": draw(batch, 3)},
        frames=FRAMES,
        ours_alone=True,
    ),
}


@cache
def made(kind: str) -> nn.Module:
    """One instance for all tests: they leave it as it was, or they fail."""
    torch.manual_seed(0)
    return KINDS[kind].make().eval()


def run(
    unet: nn.Module,
    kind: str,
    batch: int = 2,
    dtype: torch.dtype = torch.float32,
    size: tuple[int, int] = (16, 16),
    time: float = 500,
) -> torch.Tensor:
    """One forward pass on inputs that a seed fixes."""
    random = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random).to(dtype)

    of = KINDS[kind]
    with torch.inference_mode():
        return unet(draw(batch, *of.sample, *size), torch.tensor(time), **of.more(batch, draw, size)).sample
