"""Makes every image that the analysis needs: the same prompts and noise, under factors that differ in one thing.

One pass without FreeU is recorded by hooks, and one with it. The others are measured on their images: a sweep of b with
s at 1, a sweep of s with b at 1, the ablations, and the baseline under other seeds, which tells how far apart images of
one prompt are anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from configs import UserError
from freeu import Factors
from freeu.factors import IDENTITY
from search.evaluation.evaluator import by_frame
from search.evaluation.guardrails import NAMES

if TYPE_CHECKING:
    import torch

    from freeu.figures import Recording

NONE, OTHER_SEEDS, FREEU = "baseline", "other seeds", "FreeU"
ALL_CHANNELS, BACKBONE, SKIP = "all channels", "backbone alone", "skip filter alone"
B = (0.8, 0.9, 1.1, 1.2, 1.4, 1.6)
S = (0.0, 0.3, 0.6, 0.8, 1.2)
EXAMPLES = 3
"""Prompts whose images are shown."""
Told = Callable[[str], None]


@dataclass(frozen=True)
class Pass:
    """One pass over the prompts.

    Attributes:
        table: a row for each prompt: the guardrails' measures, `high_share` (of the luma's power, see
            `freeu.spectra.spectrum`) and `distance` (root mean square of the differences to the baseline, 0..1).
        spectra: of the luma, (prompts, rings).
        examples: uint8, of the first prompts, (EXAMPLES, 3, H, W); of videos their middle frames.
    """

    factors: Factors
    table: pd.DataFrame
    spectra: np.ndarray
    examples: torch.Tensor


@dataclass
class Passes:
    """All of them. failed: by name, those that gave no images, with the reason."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    others: tuple[int, ...]
    factors: Factors
    plain: Recording
    treated: Recording
    images: torch.Tensor
    """Without FreeU, uint8 (prompts, 3, H, W); of videos their middle frames."""
    made: dict[str, Pass] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def swept(self, name: str) -> list[tuple[float, Pass]]:
        """The sweep of "b" or "s", in the order of its values, the baseline among them."""
        values = sorted((*(B if name == "b" else S), 1.0))
        named = [(value, NONE if value == 1 else f"{name} {value:g}") for value in values]
        return [(value, self.made[key]) for value, key in named if key in self.made]

    @property
    def other(self) -> str:
        """What the ablation of the version is called."""
        return "version 1" if self.factors.version == "v2" else "version 2"

    @property
    def ablations(self) -> list[str]:
        """Those that were made, FreeU itself first."""
        return [name for name in (FREEU, self.other, ALL_CHANNELS, BACKBONE, SKIP) if name in self.made]


def variants(factors: Factors) -> dict[str, Factors]:
    """The sweeps, with all else at 1, and what differs from `factors` in one thing, by name."""
    none = replace(IDENTITY, version=factors.version, stages=factors.stages)
    other, name = ("v1", "version 1") if factors.version == "v2" else ("v2", "version 2")
    controls = factors.controls
    return {
        **{f"b {b:g}": replace(none, b1=b, b2=b) for b in B},
        **{f"s {s:g}": replace(none, s1=s, s2=s) for s in S},
        name: replace(factors, version=other),  # type: ignore[arg-type]
        ALL_CHANNELS: replace(factors, controls=replace(controls, offset=0.0, width=1.0)),
        BACKBONE: replace(factors, s1=1.0, s2=1.0, controls=replace(controls, s3=1.0, high=1.0)),
        SKIP: replace(factors, b1=1.0, b2=1.0, controls=replace(controls, b3=1.0)),
    }


class Runner:
    """Draws and measures passes of one model. Raises UserError where it has no U-Net that can be looked into."""

    def __init__(self, generator: Any, prompts: Sequence[str], seeds: Sequence[int], others: Sequence[int]) -> None:
        """seeds: of each prompt. others: the other seeds."""
        from metrics.guardrails import Guardrail

        if not hasattr(generator, "unet"):
            raise UserError(
                f"{generator.name} is a generator of your own, into which no hooks reach: the analysis needs a U-Net "
                "of diffusers"
            )
        from freeu.sites import find_sites

        find_sites(generator.unet)
        self.generator, self.prompts = generator, tuple(prompts)
        self.seeds, self.others = tuple(seeds), tuple(others)
        self.rails = {name: Guardrail(name, beside=NAMES) for name in NAMES}
        self.base: torch.Tensor | None = None

    def all(self, factors: Factors, told: Told) -> Passes:
        """Every pass but those of the ranges. factors: the FreeU that is looked at. told: of each pass, by name."""
        none = replace(IDENTITY, version=factors.version, stages=factors.stages)
        told(NONE)
        plain, first = self._recorded(none)
        assert self.base is not None
        told(FREEU)
        treated, with_freeu = self._recorded(factors)
        found = Passes(self.prompts, self.seeds, self.others, factors, plain, treated, _middle(self.base, self.frames))
        found.made = {NONE: first, FREEU: with_freeu}
        told(OTHER_SEEDS)
        self.add(found, OTHER_SEEDS, none, self.others)
        if OTHER_SEEDS not in found.made:
            raise UserError(f"{self.generator.name} without FreeU: {found.failed[OTHER_SEEDS]}")
        for name, each in variants(factors).items():
            told(name)
            self.add(found, name, each)
        return found

    @property
    def frames(self) -> int:
        """Of each video; an image is one."""
        return getattr(self.generator, "frames", 1)

    def add(self, found: Passes, name: str, factors: Factors, seeds: Sequence[int] | None = None) -> None:
        """Draws and measures one more; factors under which there is no image leave a reason."""
        from freeu.generate import GenerationError

        try:
            found.made[name] = self._measured(factors, seeds or self.seeds)
        except GenerationError as error:
            found.failed[name] = str(error)

    def _recorded(self, factors: Factors) -> tuple[Recording, Pass]:
        from freeu.figures import recorded
        from freeu.generate import GenerationError

        generator = self.generator
        look = recorded(generator.unet, generator.timesteps, copies=generator.copies, frames=self.frames)
        try:
            with look as recording:
                found = self._measured(factors, self.seeds)
        except GenerationError as error:
            raise UserError(f"{generator.name} with {'baseline' if factors.identity else factors}: {error}") from error
        return recording, found

    def _measured(self, factors: Factors, seeds: Sequence[int]) -> Pass:
        from metrics.base import Batch
        from search.evaluation.interrupts import Stopping

        with Stopping() as stopping:
            images = self.generator.generate(self.prompts, seeds, factors, lambda done: stopping.check())
        if self.base is None:
            self.base = images
        n, frames = len(images), self.frames
        batch = Batch(images.flatten(0, -4), by_frame(self.prompts, frames), frames)
        scores = {name: np.asarray(rail.score(batch).per_image) for name, rail in self.rails.items()}
        table = pd.DataFrame({name: each.reshape(n, frames).mean(1) for name, each in scores.items()})
        looked = [_look(*pair) for pair in zip(images, self.base, strict=True)]  # one by one: videos are large
        spectra, table["high_share"], table["distance"] = (np.array(column) for column in zip(*looked, strict=True))
        return Pass(factors, table, spectra, _middle(images[:EXAMPLES], frames))


def _look(image: torch.Tensor, base: torch.Tensor) -> tuple[np.ndarray, float, float]:
    """The spectrum of an image's luma, its high share, and how far it is from another one; see `Pass`."""
    import torch

    from freeu.spectra import spectrum
    from metrics.pixels import LUMA

    pixels = image.reshape(-1, *image.shape[-3:]).float() / 255
    amplitude, share = spectrum(torch.einsum("c,nchw->nhw", pixels.new_tensor(LUMA), pixels)[None])
    moved = pixels - base.reshape(pixels.shape).float() / 255
    return amplitude[0].numpy(), float(share), float(moved.square().mean().sqrt())


def _middle(images: torch.Tensor, frames: int) -> torch.Tensor:
    """The middle frame of each video; images as they are."""
    return images[:, frames // 2] if images.ndim == 5 else images
