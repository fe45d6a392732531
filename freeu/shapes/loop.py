"""One training loop for every network here: a loss, a step count, a cosine schedule, an average of the weights.

Every step draws its randomness from (seed and rank, step), so a run that was killed goes on from its last checkpoint as
if nothing had happened. Where a torch.distributed group is up, each rank draws its own batch and gradients are
averaged: networks this small use two cores far better as two processes than as two threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import distributed, nn

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True)
class Draw:
    """The randomness of one step, for NumPy and for torch."""

    numpy: np.random.Generator
    torch: torch.Generator

    @staticmethod
    def of(seed: int, step: int) -> Draw:
        return Draw(np.random.default_rng([seed, step]), torch.Generator().manual_seed((seed << 32) + step))


@dataclass(frozen=True)
class Plan:
    """How to train: `lr` is reached after `warmup` steps and falls to zero along a cosine."""

    name: str
    steps: int
    lr: float
    warmup: int = 200
    weight_decay: float = 0.01
    average: float = 0.998
    seed: int = 0

    def rate(self, step: int) -> float:
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / (self.steps - self.warmup)))


def train(net: Net, loss: Callable[[Draw], torch.Tensor], plan: Plan, work: Path) -> Net:
    """Minimises `loss` over the parameters of `net`; returns `net` holding the averaged weights, in eval mode."""
    file = work / f"{plan.name}.ckpt"
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    optimiser = torch.optim.AdamW(net.parameters(), plan.lr, (0.9, 0.99), weight_decay=plan.weight_decay, fused=True)
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}
    step = 0
    if file.exists():
        saved = torch.load(file, weights_only=True)
        net.load_state_dict(saved["net"])
        optimiser.load_state_dict(saved["optimiser"])
        average, step = saved["average"], saved["step"]
    net.train()
    said = kept = time.monotonic()
    since, total, count = step, 0.0, 0
    while step < plan.steps:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step)
        value = loss(Draw.of(plan.seed + 1000 * rank, step))
        optimiser.zero_grad()
        value.backward()
        _average_gradients(net)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        keep = min(plan.average, step / (step + 10))
        for name, new in net.state_dict().items():
            average[name].lerp_(new, 1 - keep) if new.is_floating_point() else average[name].copy_(new)
        total, count, now = total + value.item(), count + 1, time.monotonic()
        if rank == 0 and (now - said > 20 or step == plan.steps):
            pace = (now - said) / (step - since)
            left = (plan.steps - step) * pace / 60
            print(
                f"{plan.name}: step {step}/{plan.steps}, loss {total / count:.4f}, {left:.0f} min left",
                flush=True,
            )
            said, since, total, count = now, step, 0.0, 0
        if rank == 0 and (now - kept > 60 or step == plan.steps):
            state = {
                "net": net.state_dict(),
                "optimiser": optimiser.state_dict(),
                "average": average,
                "step": step,
            }
            torch.save(state, file.with_suffix(".part"))
            file.with_suffix(".part").replace(file)
            kept = now
    net.load_state_dict(average)
    return net.eval()


def _average_gradients(net: nn.Module) -> None:
    """Means the gradients over the ranks, in one message."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
