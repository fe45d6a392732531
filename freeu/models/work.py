"""The work of one evaluation of a U-Net, counted from its config, before there are weights.

Multiplications and additions of the convolutions, the linear layers and attention, two for each multiply-add; what is
left out (norms, activations, the time embedding) is some percent. A video's temporal layers are taken as a share of the
spatial ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .identity import read_json
from .spec import ModelSpec

SD1: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
}
SDXL: dict[str, Any] = {
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", *["CrossAttnDownBlock2D"] * 2],
    "up_block_types": [*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"],
    "layers_per_block": 2,
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": [1, 2, 10],
}
KNOWN = {
    "stabilityai/stable-diffusion-xl-base-1.0": SDXL,
    "stabilityai/sdxl-turbo": SDXL,
    "diffusers/stable-diffusion-xl-1.0-inpainting-0.1": SDXL,
    "segmind/SSD-1B": SDXL,
    "segmind/Segmind-Vega": SDXL,
}
"""U-Nets of the hub that are not Stable Diffusion's; an upper bound for the two that are SDXL with less in it."""
TOKENS = 77
TEMPORAL = 0.3
"""What a video model's temporal layers come to, as a share of the spatial ones."""
CONTROLNET = 0.4
"""What a ControlNet is to its U-Net: the encoder's half."""
DECODER = 8460 / 1024**2
"""GFLOP of SDXL's decoder, which is Stable Diffusion's too, for a pixel; counted with torch's profiler."""
VAE: dict[str, Any] = {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2}
"""That of Stable Diffusion."""


def of_image(spec: ModelSpec, evaluations: float) -> float:
    """GFLOP of an image or video of the spec whose U-Net is evaluated so often (a redrawn frame counts as one)."""
    height, width = spec.image_size
    config, vae = config_of(spec)
    scale = 2 ** (len(vae["block_out_channels"]) - 1)
    try:
        once = unet(config, height // scale, width // scale)
    except (TypeError, ValueError, LookupError):  # a U-Net of another form: as Stable Diffusion's
        once = unet(SD1, height // scale, width // scale)
    once *= 1 + CONTROLNET * len(spec.controlnets)
    if spec.traits.temporal:
        once *= spec.frames * (1 + TEMPORAL)
    return evaluations * once + spec.frames * DECODER * _share(vae) * height * width


def _share(vae: Mapping[str, Any]) -> float:
    """What a decoder's work is of Stable Diffusion's: its convolutions', which go with the square of the width."""

    def layers(config: Mapping[str, Any]) -> float:
        widths = config["block_out_channels"]
        return (config["layers_per_block"] + 1) * sum(each**2 / 4**level for level, each in enumerate(widths))

    return layers(vae) / layers(VAE)


def config_of(spec: ModelSpec) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(the U-Net's config, the VAE's): of the folder that is here, else of the known architecture."""
    place = spec.base / spec.config if spec.config else spec.folder
    network, vae = place / "unet" / "config.json", place / "vae" / "config.json"
    read = read_json(vae) if vae.is_file() else {}
    decoder = {key: read[key] if isinstance(read.get(key), type(own)) else own for key, own in VAE.items()}
    if network.is_file():
        return read_json(network), decoder
    return KNOWN.get(spec.config or spec.source, SD1), decoder


def unet(config: Mapping[str, Any], height: int, width: int) -> float:
    """GFLOP of an evaluation for one sample of latents (height, width).

    config: a UNet2DConditionModel's; of one in another form what is missing is Stable Diffusion's.
    """
    config = {**SD1, **config}
    widths, n = list(config["block_out_channels"]), len(config["block_out_channels"])
    layers = _by_block(config["layers_per_block"], n)
    depths = _by_block(config.get("transformer_layers_per_block", 1), n)
    text = _by_block(config["cross_attention_dim"], n)
    sizes = [(-(-height // 2**i)) * (-(-width // 2**i)) for i in range(n)]
    total = _conv(config.get("in_channels", 4), widths[0], sizes[0]) + _conv(widths[0], 4, sizes[0])
    skips, before = [widths[0]], widths[0]
    for i, kind in enumerate(config["down_block_types"]):
        for _ in range(layers[i]):
            total += _resnet(before, widths[i], sizes[i])
            total += _attention(widths[i], text[i], depths[i], sizes[i]) if "Attn" in kind else 0
            before = widths[i]
            skips.append(before)
        if i < n - 1:
            total += _conv(before, before, sizes[i + 1])
            skips.append(before)
    if config.get("mid_block_type", "UNetMidBlock2DCrossAttn") is not None:
        total += 2 * _resnet(before, before, sizes[-1])
        if "Attn" in str(config.get("mid_block_type", "CrossAttn")):
            total += _attention(before, text[-1], depths[-1], sizes[-1])
    for i, kind in enumerate(config["up_block_types"]):
        at = n - 1 - i
        for _ in range(layers[at] + 1):
            total += _resnet(before + skips.pop(), widths[at], sizes[at])
            total += _attention(widths[at], text[at], depths[at], sizes[at]) if "Attn" in kind else 0
            before = widths[at]
        if at > 0:
            total += _conv(before, before, sizes[at - 1])
    return total / 1e9


def _conv(given: int, out: int, size: int) -> float:
    """Of 3 by 3."""
    return 2.0 * 9 * given * out * size


def _resnet(given: int, out: int, size: int) -> float:
    shortcut = 2.0 * given * out * size if given != out else 0.0
    return _conv(given, out, size) + _conv(out, out, size) + shortcut


def _attention(width: int, text: int, depth: int, size: int) -> float:
    """Of a spatial transformer: its projections, and in each layer attention to itself and to the words, and a gated
    feed-forward network of four times the width."""
    to_self = 8.0 * width**2 * size + 4.0 * size**2 * width
    to_words = 4.0 * width**2 * size + 4.0 * text * width * TOKENS + 4.0 * size * TOKENS * width
    return 4.0 * width**2 * size + depth * (to_self + to_words + 24.0 * width**2 * size)


def _by_block(found: Any, n: int) -> list[int]:
    """One number for all blocks, or one for each; a list within for each layer stands for its first."""
    each = list(found) if isinstance(found, list | tuple) else [found] * n
    return [int(one[0] if isinstance(one, list | tuple) else one) for one in each]
