"""The denoising loop of one batch: from its prompts and seeds to latents, under whatever factors the U-Net has.

It is written out here, not called as `pipe(prompt)`, so that what doesn't depend on the factors (text embeddings) is
made once, and so that an image depends on its prompt and seed alone. Without FreeU it gives, bit for bit, what
diffusers' own call gives for the same embeddings and noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from freeu.generate import generator

from . import scheduling
from .early import Early, State
from .spec import ModelSpec


class Denoising(ABC):
    """What a generator does with a batch; other kinds of pipelines begin, predict or step otherwise, and override that.

    Attributes:
        steps, guidance: of the sampling settings.
    """

    steps: int
    guidance: float
    _pipeline: Any
    _unet: Any
    _spec: ModelSpec
    _device: torch.device
    _guided: bool
    """Whether each prompt is denoised with and without words."""
    _perturbed: bool
    """Whether it is denoised once more, with some attention left out (`.perturbed`)."""
    _latent: tuple[int, ...]
    """The shape of an image's noise."""
    _run: SimpleNamespace
    _early: Early

    @abstractmethod
    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        """The U-Net's arguments beside the latents; under guidance the negative half comes first."""

    @property
    def timesteps(self) -> torch.Tensor:
        """Those that it runs through for a batch, in order."""
        return self._run.own

    @property
    def copies(self) -> int:
        """How often each prompt stands in its batch: without words under guidance, with them, and perturbed where it
        is."""
        return 1 + self._guided + self._perturbed

    def unet_evaluations(self, n: int) -> int:
        """Samples through the U-Net for n images; some schedulers evaluate more often than `steps`."""
        return n * len(self._run.own) * self.copies

    def _new_run(self) -> SimpleNamespace:
        """What FreeU's schedule counts: `timesteps` of an image's whole run, from the one numbered `begin_index` on.
        own: those that this U-Net does; untouched: how many of the first ones FreeU leaves alone.
        """
        own = self._timesteps(self._scheduler())
        return SimpleNamespace(timesteps=own, begin_index=0, own=own, untouched=0)

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], told: Callable[[float], None]) -> torch.Tensor:
        """Latents of the images."""
        randoms = [generator(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        scheduler = self._scheduler()
        latents = self._begin(prompts, randoms, scheduler)
        condition = self._condition(prompts, randoms)
        if self._run.untouched:
            batch = (tuple(prompts), tuple(seeds))
            latents, scheduler, told = self._shared(latents, condition, batch, randoms, scheduler, told)
        times = self._timesteps(scheduler)[self._run.untouched :]
        return self._denoise(latents, condition, randoms, scheduler, times, told)

    def _shared(
        self,
        latents: torch.Tensor,
        condition: dict[str, Any],
        batch: Any,
        randoms: Sequence[torch.Generator],
        scheduler: Any,
        told: Callable[[float], None],
    ) -> tuple[torch.Tensor, Any, Callable[[float], None]]:
        """(latents, scheduler, told) when the steps that FreeU leaves alone are done, by this candidate or another.

        batch: names the images.
        """
        wanted, whole = self._run.untouched, len(self._run.own)
        done, kept = self._early.latest(batch, wanted)
        if kept is not None:
            latents, scheduler = kept.latents, kept.scheduler
            for random, state in zip(randoms, kept.randoms, strict=True):
                random.set_state(state)
        if done < wanted:
            every = self._timesteps(scheduler)
            times, then = every[done:wanted], every[wanted] if wanted < whole else None
            part = len(times) / whole
            latents = self._denoise(
                latents, condition, randoms, scheduler, times, lambda share: told(done / whole + share * part), then
            )
            self._early.keep(batch, wanted, State.of(latents, scheduler, randoms))
        return latents, scheduler, lambda share: told((wanted + share * (whole - wanted)) / whole)

    def _begin(self, prompts: Sequence[str], randoms: Sequence[torch.Generator], scheduler: Any) -> torch.Tensor:
        """The latents that the run begins with: noise."""
        return self._noise(randoms) * scheduler.init_noise_sigma

    def _noise(self, randoms: Sequence[torch.Generator]) -> torch.Tensor:
        drawn = torch.stack([torch.randn(self._latent, generator=random) for random in randoms])
        return drawn.to(self._device, self._unet.dtype)

    def _denoise(
        self,
        latents: torch.Tensor,
        condition: dict[str, Any],
        randoms: Sequence[torch.Generator],
        scheduler: Any,
        timesteps: torch.Tensor,
        told: Callable[[float], None],
        then: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Through these timesteps; told(share of them that is done) after each. then: the timestep after them, where
        they are not the last ones."""
        for done, t in enumerate(timesteps, 1):
            parts = 1 + self._guided + self._perturbed
            x = scheduler.scale_model_input(torch.cat([latents] * parts) if parts > 1 else latents, t)
            guesses = self._predict(x, t, condition).chunk(parts)
            guess = given = guesses[self._guided]
            if self._guided:
                guess = guesses[0] + self._scale * (given - guesses[0])
            if self._perturbed:
                guess = guess + self._spec.pag_scale * (given - guesses[-1])
            if self._guided and self._spec.guidance_rescale > 0:
                guess = scheduling.rescaled(guess, given, self._spec.guidance_rescale)
            latents = self._step(scheduler, guess, t, latents, randoms)
            latents = self._between(latents, condition, scheduler, timesteps[done] if done < len(timesteps) else then)
            told(done / len(timesteps))
        return latents

    def _between(
        self, latents: torch.Tensor, condition: dict[str, Any], scheduler: Any, following: torch.Tensor | None
    ) -> torch.Tensor:
        """What becomes of the latents before the timestep `following`, or at the end."""
        return latents

    def _step(
        self,
        scheduler: Any,
        guess: torch.Tensor,
        t: torch.Tensor,
        latents: torch.Tensor,
        randoms: Sequence[torch.Generator],
    ) -> torch.Tensor:
        return scheduling.stepped(scheduler, guess, t, latents, randoms, self._spec.eta)

    @property
    def _scale(self) -> float | torch.Tensor:
        """Of classifier-free guidance."""
        return self.guidance

    def _predict(self, x: torch.Tensor, t: torch.Tensor, condition: dict[str, Any]) -> torch.Tensor:
        """condition: as `_condition`; what the U-Net sees in further channels stands there as "seen"."""
        words = {name: each for name, each in condition.items() if name != "seen"}
        x = torch.cat([x, condition["seen"]], dim=1) if "seen" in condition else x
        return self._unet(x, t, **words, return_dict=False)[0]

    def _scheduler(self) -> Any:
        return scheduling.fresh(self._pipeline.scheduler, self._spec, self.steps, self._device)

    def _timesteps(self, scheduler: Any) -> torch.Tensor:
        """Those of the scheduler's that are run through."""
        return scheduler.timesteps
