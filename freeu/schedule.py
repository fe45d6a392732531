"""How strongly FreeU acts at a moment of the denoising run, by the controls start, stop and smooth."""

from __future__ import annotations

from typing import Any

import torch

from .controls import Controls

TRAINED = 1000
"""Timesteps that Stable Diffusion and its kin are trained on."""


def progress(timestep: torch.Tensor, scheduler: Any = None) -> torch.Tensor:
    """Where in its run a denoising step stands, from 0 (the first) to below 1, in float32 and timestep's shape.

    With a scheduler: the step's number by the count of steps. Without: by the timestep, 1 - (t + 1) / 1000, which is
    the same where timesteps are evenly spaced from the last.
    """
    if scheduler is None:
        return (1 - (timestep + 1) / TRAINED).float()
    times = scheduler.timesteps.to(timestep.device)
    return (times - timestep[..., None]).abs().argmin(dim=-1).float() / len(times)


def weight(place: torch.Tensor, controls: Controls) -> torch.Tensor:
    """0 (no FreeU) to 1 (the factors as given) at `place`, as the web UI's extension has it."""
    start, stop = controls.start, controls.stop
    flat = ((place >= start) & (place < stop)).float()
    rising = place / start if start > 0 else torch.ones_like(place)
    ramp = torch.where(place < start, rising, (stop - place) / (stop - start)).clamp(0, 1)
    return flat + controls.smooth * (ramp - flat)
