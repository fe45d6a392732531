"""The feature network of the embedded FID: a small ResNet in transformers' format, trained to name attributes.

It is to shapes what Inception is to photographs: a classifier whose pooled features measure how alike two sets of
images are. It shares neither weights nor data seed with the CLIP and the reader.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from .attributes import PER_SLOT, SLOTS, WHOLE, labels
from .data import Scenes, to_signed
from .loop import Draw, Plan, train

WIDTHS = (32, 64, 96, 128)


def fit(data: Scenes, work: Path, steps: int, seed: int, batch: int = 64) -> nn.Module:
    """Trains a ResNetModel whose pooled features (n, 128) tell which attributes occur in the image."""
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(seed)
    trunk = ResNetModel(
        ResNetConfig(
            embedding_size=WIDTHS[0],
            hidden_sizes=list(WIDTHS),
            depths=[1] * len(WIDTHS),
            layer_type="basic",
        )
    )
    occurs, whole = _targets(data)
    net = nn.ModuleDict(
        {
            "trunk": trunk,
            "occurs": nn.Linear(WIDTHS[-1], occurs.shape[1]),
            **{name: nn.Linear(WIDTHS[-1], len(values)) for name, values in WHOLE.items()},
        }
    )

    def loss(draw: Draw) -> torch.Tensor:
        chosen = torch.from_numpy(draw.numpy.integers(len(data), size=batch))
        features = net["trunk"](to_signed(data.images[chosen])).pooler_output.flatten(1)
        named = nn.functional.binary_cross_entropy_with_logits(net["occurs"](features), occurs[chosen])
        told = [nn.functional.cross_entropy(net[name](features), whole[name][chosen]) for name in WHOLE]
        return named + torch.stack(told).mean()

    return train(net, loss, Plan("features", steps, 2e-3, average=0.995, seed=seed), work)["trunk"]


def _targets(data: Scenes) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Float (n, k): which values of which attribute occur on any object; and int64 (n,) by attribute of the whole."""
    truth = labels(data.scenes)
    bags = []
    for name, values in PER_SLOT.items():
        bag = torch.zeros(len(data), len(values) + 1)
        for slot in range(SLOTS):
            # An absent object's label, -1, falls into the last column, which is dropped.
            bag[torch.arange(len(data)), truth[f"{name}{slot}"]] = 1
        bags.append(bag[:, :-1])
    return torch.cat(bags, dim=1), {name: truth[name] for name in WHOLE}
