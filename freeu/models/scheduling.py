"""The scheduler of a run: a fresh one each time, refused where it can't sample the model, and noise of its own that
depends on each image's prompt and seed alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from configs import UserError
from freeu.sampler_table import DEFAULT, EDM, OF_EDM
from freeu.schedulers import check_runs, in_edm, named

from .fits import BROWNIAN, check_scheduler
from .spec import ModelSpec


def rescaled(guided: torch.Tensor, given: torch.Tensor, share: float) -> torch.Tensor:
    """A guided prediction (n, …), its spread brought back by `share` of the way to that of the one under the prompt
    alone (Lin et al., arXiv 2305.08891, equations 15 and 16)."""
    axes = tuple(range(1, guided.ndim))
    back = guided * (given.std(axes, keepdim=True) / guided.std(axes, keepdim=True))
    return share * back + (1 - share) * guided


def fresh(own: Any, spec: ModelSpec, steps: int, device: torch.device) -> Any:
    """The spec's scheduler, with its timesteps set: a new one, since schedulers carry state from step to step.

    own: the one that the pipeline brings.

    Raises:
        UserError: it can't sample a model that was trained on noise, or has not so many steps.
    """
    import diffusers

    check_scheduler(type(own).__name__, own.config)
    kind, config, changes = _made_of(type(own).__name__, own.config, spec)
    if kind in BROWNIAN:
        check_scheduler(kind, {})
    try:
        scheduler = getattr(diffusers, kind).from_config(config, **changes)
        if len(spec.timesteps) == steps:
            scheduler.set_timesteps(timesteps=list(spec.timesteps), device=device)
        else:
            scheduler.set_timesteps(steps, device=device)
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        said = " ".join(str(error).split())[:400]
        raise UserError(
            f"{spec.name}: {steps} steps of its scheduler can't be set up: {said}; try other --steps"
        ) from error
    check_scheduler(type(scheduler).__name__, scheduler.config)
    if not all(hasattr(scheduler, each) for each in ("init_noise_sigma", "scale_model_input", "step")):
        raise UserError(f"{spec.name}: its {type(scheduler).__name__} can't sample a Stable Diffusion")
    return scheduler


def _made_of(own: str, config: Mapping[str, Any], spec: ModelSpec) -> tuple[str, Mapping[str, Any], dict[str, Any]]:
    """(class, config, changes to it) of the spec's scheduler. own, config: of the one that the pipeline brings.

    Raises:
        UserError: it can't sample this model.
    """
    changes = dict(spec.scheduler_config)
    if spec.scheduler == DEFAULT:
        return own, config, changes
    if spec.scheduler == OF_EDM:
        return EDM["DPM++ 2M"], {}, changes
    chosen = named(spec.scheduler)
    check_runs(chosen, own, {**config, **changes})
    if not in_edm(own, changes):
        shape = chosen.schedule.changes if chosen.schedule else {}
        return chosen.sampler.kind, config, {**chosen.sampler.changes, **changes, **shape}
    if chosen.schedule is not None:
        changes["sigma_schedule"] = chosen.schedule.name.lower()
    return EDM[chosen.sampler.name], config if own.startswith("EDM") else {}, changes


def stepped(
    scheduler: Any,
    guess: torch.Tensor,
    t: torch.Tensor,
    latents: torch.Tensor,
    randoms: Sequence[torch.Generator],
    eta: float | None = None,
) -> torch.Tensor:
    """The latents after one step. What noise the scheduler adds comes from each image's own source in `randoms`.

    eta: how much of it, for those that can be told; None is as they have it.
    """
    takes = inspect.signature(scheduler.step).parameters
    extra: dict[str, Any] = {"generator": list(randoms)} if "generator" in takes else {}
    if eta is not None and "eta" in takes:
        extra["eta"] = eta
    if getattr(scheduler, "noise_sampler", latents) is None:
        scheduler.noise_sampler = BrownianNoise(scheduler.sigmas, latents, randoms)
    return scheduler.step(guess, t, latents, **extra, return_dict=False)[0]


class BrownianNoise:
    """The noise between two sigmas as the increment of a Brownian motion, as DPM++ SDE draws it: each image's path
    comes from its own seed, on the CPU, whatever is asked of it first and whatever stands beside it in the batch."""

    def __init__(self, sigmas: torch.Tensor, latents: torch.Tensor, randoms: Sequence[torch.Generator]) -> None:
        from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

        seeds = [random.initial_seed() for random in randoms]
        # A little more than what is asked for, which is rounded.
        low, high = 0.999 * sigmas[sigmas > 0].min().item(), 1.001 * sigmas.max().item()
        self._sampler = BrownianTreeNoiseSampler(torch.zeros(latents.shape), low, high, seeds)
        self._device, self._dtype = latents.device, latents.dtype

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        return self._sampler(sigma, sigma_next).to(self._device, self._dtype)

    def __deepcopy__(self, memo: Any) -> BrownianNoise:
        return self  # the path is given by the seeds: a copied run may share it
