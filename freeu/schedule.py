"""How strongly FreeU acts at a step of the denoising run, by the controls start, stop and smooth."""

from __future__ import annotations

from typing import Any

import torch

from .controls import Controls

TRAINED = 1000
"""Timesteps that Stable Diffusion and its kin are trained on."""
ROUNDING = 1e-4
"""Of a step: 0.7 of 100 steps is step 70, whatever the product is in floating point."""


class Steps:
    """Numbers the steps of denoising runs, for a U-Net that is told their timesteps alone."""

    def __init__(self, scheduler: Any = None) -> None:
        """scheduler: has the timesteps. Without one a run is 1000 steps, one for each timestep."""
        self._scheduler = scheduler
        self._first = self._last = torch.tensor(-1)

    def __call__(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | int]:
        """(the step's number from 0, in timestep's shape; the run's steps).

        A run may be the last part of the scheduler's timesteps alone, as image to image is: begin_index tells, None
        for all of them. With a scheduler that has none (DDIM's, PNDM's) a run begins with the first step seen, and
        wherever timesteps go back.
        """
        if self._scheduler is None:
            return TRAINED - 1 - timestep, TRAINED
        times = self._scheduler.timesteps.to(timestep.device)
        index = (times - timestep[..., None]).abs().argmin(dim=-1)
        if hasattr(self._scheduler, "begin_index"):
            begin = self._scheduler.begin_index or 0
        else:
            now, last = index.min(), self._last.to(index.device)
            begin = torch.where((last < 0) | (now < last), now, self._first.to(index.device))
            self._first, self._last = begin, now
        return index - begin, len(times) - begin


def weight(step: torch.Tensor, steps: torch.Tensor | int, controls: Controls) -> torch.Tensor:
    """0 (the baseline) to 1 (the factors as given) at a step, as the web UI's extension has it; float32 in step's
    shape.

    start and stop are rounded down to whole steps.
    """
    step, steps = step.float(), torch.as_tensor(steps, device=step.device)
    start, stop = (torch.floor(share * steps + ROUNDING) for share in (controls.start, controls.stop))
    flat = ((step >= start) & (step < stop)).float()
    ramp = torch.where(step < start, step / start.clamp(min=1), (stop - step) / (stop - start).clamp(min=1)).clamp(0, 1)
    return torch.where(start < stop, flat + controls.smooth * (ramp - flat), 0.0)
