"""The autoencoder: 64x64 pixels to 16x16 latents of 4 channels, in diffusers' AutoencoderKL.

Everything after it is bounded by what it keeps, so its loss protects what the scenes are made of: pixels (L1), edges
(L1 of the differences of neighbours) and colour (L1 after a 4-pixel mean, where hue shows and edges don't).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .data import Scenes, to_signed
from .loop import Draw, Plan, train

WIDTHS = (24, 48, 64)


def build() -> nn.Module:
    """A fresh AutoencoderKL of factor 4."""
    from diffusers import AutoencoderKL

    levels = len(WIDTHS)
    return AutoencoderKL(
        block_out_channels=WIDTHS,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=64,
        force_upcast=False,
    )


def reconstruction_loss(out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Pixels, edges and colour; images (n, 3, H, W) in [-1, 1]; lower is better."""
    error = out - target
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * edges + F.avg_pool2d(error, 4).abs().mean()


def fit(data: Scenes, work: Path, steps: int, seed: int, batch: int = 64, crop: int = 32) -> nn.Module:
    """Trains on random crops: the network is convolutional, and four crops hold more scenes than one whole image."""
    torch.manual_seed(seed)
    net = build()

    def loss(draw: Draw) -> torch.Tensor:
        chosen = torch.from_numpy(draw.numpy.integers(len(data), size=batch))
        top, left = draw.numpy.integers(0, 64 - crop + 1, 2)
        images = to_signed(data.images[chosen, :, top : top + crop, left : left + crop])
        with torch.autocast("cpu", torch.bfloat16):
            latent = net.encode(images).latent_dist
            spread = torch.randn(latent.mean.shape, generator=draw.torch)
            out = net.decode(latent.mean + latent.std * spread).sample
        return reconstruction_loss(out.float(), images) + 1e-6 * latent.kl().mean()

    net = train(net, loss, Plan("autoencoder", steps, 3e-3, average=0.995, seed=seed), work)
    with torch.inference_mode():
        scale = torch.cat(
            [net.encode(to_signed(part)).latent_dist.mean for part in data.images[:1024].split(128)]
        ).std()
    net.register_to_config(scaling_factor=round(1 / scale.item(), 5))
    return net


def encode(vae: nn.Module, data: Scenes) -> torch.Tensor:
    """Scaled latents (n, 4, 16, 16), float32, of every image."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        parts = [vae.encode(to_signed(part)).latent_dist.mean.float() for part in data.images.split(64)]
    return torch.cat(parts) * vae.config.scaling_factor
