"""The attribute reader: looks at an image and names its objects. It judges the generator; nothing is tuned on it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from .attributes import ABSENT, CLASSES, labels
from .data import Scenes, to_signed
from .loop import Draw, Plan, train

WIDTHS = (32, 64, 96, 128)


class Block(nn.Module):
    """Halves the size, then one residual convolution; (n, a, H, W) to (n, b, H/2, W/2)."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(a, b, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, b)
        self.conv = nn.Conv2d(b, b, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, b)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.silu(self.norm(self.down(x)))
        return x + F.silu(self.norm2(self.conv(x)))


class Reader(nn.Module):
    """Strided convolutions that keep the place (no pooling), and one linear head for each attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(Block(a, b) for a, b in zip((3, *WIDTHS), WIDTHS, strict=False)))
        self.hidden = nn.Linear(WIDTHS[-1] * 16, 256)
        self.heads = nn.ModuleDict({name: nn.Linear(256, classes) for name, classes in CLASSES.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits by attribute, from images in [-1, 1] of shape (n, 3, 64, 64)."""
        features = F.silu(self.hidden(self.trunk(images).flatten(1)))
        return {name: head(features) for name, head in self.heads.items()}

    @torch.inference_mode()
    def read(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Class indices by attribute, int64 (n,), from uint8 (n, 3, 64, 64)."""
        parts = [self(to_signed(part)) for part in images.split(256)]
        return {name: torch.cat([part[name].argmax(1) for part in parts]) for name in CLASSES}

    def save(self, folder: Path) -> None:
        """Writes weights in half precision, and the classes that they name."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.half().contiguous() for k, v in self.state_dict().items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"widths": WIDTHS, "classes": CLASSES}, indent=2) + "\n")

    @staticmethod
    def load(folder: Path) -> Reader:
        """The reader kept in `folder`, in float32 and eval mode."""
        from safetensors.torch import load_file

        reader = Reader()
        reader.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
        return reader.eval()


def attribute_loss(logits: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean cross-entropy over the attributes that the scenes have."""
    return torch.stack([F.cross_entropy(logits[name], wanted[name], ignore_index=ABSENT) for name in logits]).mean()


def fit(data: Scenes, work: Path, steps: int, seed: int, batch: int = 64) -> Reader:
    """Trains on renders with a little noise, so that it reads what is shown and not how Pillow rounds it."""
    torch.manual_seed(seed)
    truth = labels(data.scenes)
    net = Reader()

    def loss(draw: Draw) -> torch.Tensor:
        chosen = torch.from_numpy(draw.numpy.integers(len(data), size=batch))
        images = to_signed(data.images[chosen])
        images = images + 0.1 * draw.numpy.random() * torch.randn(images.shape, generator=draw.torch)
        return attribute_loss(net(images), {name: values[chosen] for name, values in truth.items()})

    return train(net, loss, Plan("reader", steps, 1.5e-3, average=0.995, seed=seed), work)
