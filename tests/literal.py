"""FreeU as the paper's own code words it: FFT filter, both versions, and the controls. Slow, to test ours against."""

from __future__ import annotations

import torch
from torch import nn

from freeu import Factors


def fft_filter(x: torch.Tensor, scale: float, threshold: int = 1, high: float = 1.0) -> torch.Tensor:
    """Eq. 6 to the letter: scale a box round the shifted zero frequency, go back, take the real part."""
    spectrum = torch.fft.fftshift(torch.fft.fftn(x.double(), dim=(-2, -1)), dim=(-2, -1))
    row, column = x.shape[-2] // 2, x.shape[-1] // 2
    mask = torch.full(x.shape[-2:], high, dtype=torch.float64)
    mask[row - threshold : row + threshold, column - threshold : column + threshold] = scale
    return torch.fft.ifftn(torch.fft.ifftshift(spectrum * mask, dim=(-2, -1)), dim=(-2, -1)).real.to(x.dtype)


def scaled_backbone(
    hidden: torch.Tensor, b: float, version: str, offset: float = 0.0, width: float = 0.5
) -> torch.Tensor:
    """Eq. 3 and 4 (v2), or the constant of the first arXiv version (v1), on a window of channels."""
    hidden = hidden.clone()
    count = hidden.shape[1]
    chosen = [i % count for i in range(int(offset * count), int((offset + width) * count))]
    if version == "v1":
        hidden[:, chosen] = hidden[:, chosen] * b
        return hidden
    mean = hidden.mean(1).unsqueeze(1)
    samples = hidden.shape[0]
    high = mean.view(samples, -1).max(dim=-1).values.view(samples, 1, 1, 1)
    low = mean.view(samples, -1).min(dim=-1).values.view(samples, 1, 1, 1)
    hidden[:, chosen] = hidden[:, chosen] * ((b - 1) * ((mean - low) / (high - low)) + 1)
    return hidden


class LiteralFreeU:
    """Runs a diffusers U-Net with every decoder block's forward rewritten around the concatenation."""

    def __init__(self, unet: nn.Module, factors: Factors) -> None:
        self.unet, self.factors = unet, factors

    def stage(self, block: int, channels: int) -> int | None:
        if self.factors.stages == "block":
            return block + 1 if block < 3 else None
        base = self.unet.config.block_out_channels[0]
        return {4 * base: 1, 2 * base: 2, base: 3}.get(channels)

    def __enter__(self) -> nn.Module:
        self.original = torch.cat
        self.running: int | None = None
        self.handles = []
        for index, block in enumerate(self.unet.up_blocks):
            self.handles.append(
                block.register_forward_pre_hook(lambda *_, index=index: setattr(self, "running", index))
            )
            self.handles.append(block.register_forward_hook(lambda *_: setattr(self, "running", None)))
        torch.cat = self.cat
        return self.unet

    def __exit__(self, *_: object) -> None:
        torch.cat = self.original
        for handle in self.handles:
            handle.remove()

    def cat(self, tensors, dim=0):
        """In a decoder block the only concatenation is that of backbone and skip, in this order."""
        if self.running is not None and len(tensors) == 2 and dim == 1 and tensors[0].ndim == 4:
            hidden, skip = tensors
            stage = self.stage(self.running, hidden.shape[1])
            if stage is not None:
                controls = self.factors.controls
                offset, width, threshold, high = (
                    controls.of(stage, name) for name in ("offset", "width", "threshold", "high")
                )
                b, s, _ = self.factors.of(stage)
                scaled = scaled_backbone(hidden, b, self.factors.version, offset, width)
                if hidden is skip and (self.factors.version, self.factors.stages) == ("v1", "block"):
                    skip = scaled  # diffusers works in place
                tensors = (scaled, fft_filter(skip, s, threshold, high))
        return self.original(tensors, dim=dim)
