"""The worked example of docs/own-model.md: a U-Net that is not diffusers', with FreeU at its concatenations."""

from __future__ import annotations

import torch
from torch import nn

import freeu
from freeu.generate import noise


class SmallUNet(nn.Module):
    """Two levels; the decoder's two stages join the backbone with a skip."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.Conv2d(4 * width, width, 3, padding=1)
        self.last = nn.Conv2d(2 * width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor, factors: freeu.Factors) -> torch.Tensor:
        high = self.first(x).relu()
        low = self.down(high).relu()
        hidden = self.middle(low).relu()
        hidden, low = freeu.modulate(hidden, low, factors.b1, factors.s1, factors.version)
        hidden = self.up(torch.cat([hidden, low], dim=1)).relu()
        hidden = nn.functional.interpolate(hidden, scale_factor=2)
        hidden, high = freeu.modulate(hidden, high, factors.b2, factors.s2, factors.version)
        return self.last(torch.cat([hidden, high], dim=1))


class SmallGenerator:
    """What `--model tests.own_generator:make_generator` gives."""

    image_size = (32, 32)

    def __init__(self, steps: int) -> None:
        torch.manual_seed(0)
        self.unet, self.steps = SmallUNet(), steps

    @torch.inference_mode()
    def generate(self, prompts: list[str], seeds: list[int], factors: freeu.Factors) -> torch.Tensor:
        x = torch.stack([noise(prompt, seed, (3, 32, 32)) for prompt, seed in zip(prompts, seeds, strict=True)])
        for _ in range(self.steps):
            x = x + self.unet(x, factors) / self.steps
        return ((x / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


def make_generator(steps: int) -> SmallGenerator:
    return SmallGenerator(steps)
