"""The paper's analysis, recorded from a run: what the latents and the decoder's features hold at which frequency.

Hooks look on while a model draws, and change nothing: a U-Net's output is the same to the bit. Of each prompt they keep
numbers alone, whatever the size of the features: spectra for every site and step (figure 7 of Si et al., arXiv
2309.11497), how far the latents' low and high frequencies move (figure 2), mean feature maps at a few steps (figure
8), and of the first prompt the latents and, at one step, the features themselves (figures 2, 15 and 18).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from configs import UserError

from .patch import CONTINUOUS
from .sites import Site, find_sites
from .spectra import parts, spectrum

KINDS = ("backbone", "skip", "fused")
"""Features at a site: the two that are joined, before FreeU, and what the decoder's resnet makes of both."""
LEAST = 4
"""Pixels of a map's shorter side below which low and high frequencies can't be told apart."""
LARGEST = 64
"""Pixels of a mean feature map's side that are kept."""
SHOWN = 5
"""Steps whose maps and latents are kept."""


@dataclass
class Recording:
    """What was seen of all prompts, in their order, once the block of `recorded` has ended.

    Attributes:
        names, sites: the places, in the order in which they run; those with maps of at least `LEAST` pixels.
        timesteps: (steps,), as the U-Net was told them. shown: the steps that are kept as pictures.
        spectra: by kind a list over sites: amplitudes (prompts, steps, rings), see `freeu.spectra.spectrum`.
        shares: by kind, of high frequencies: (prompts, steps, sites).
        sizes: of each site's maps, (height, width).
        latent_spectra: (prompts, steps, rings). latent_shares: (prompts, steps).
        changes: (prompts, steps - 1, 2): how far the latents' low and high parts move in a step, relative to their
            size before it.
        maps: by kind (backbone and skip) a list over sites: means over channels (prompts, shown, h, w), of a video its
            middle frame's.
        latents: of the first prompt, (shown, c, h, w). features: of the first prompt, by site what the resnet gives at
            the middle one of the shown steps, (c, h, w).
    """

    names: tuple[str, ...] = ()
    sites: tuple[Site, ...] = ()
    timesteps: np.ndarray = field(default_factory=lambda: np.zeros(0))
    shown: tuple[int, ...] = ()
    spectra: dict[str, list[np.ndarray]] = field(default_factory=dict)
    shares: dict[str, np.ndarray] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()
    latent_spectra: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))
    latent_shares: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    changes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 2)))
    maps: dict[str, list[np.ndarray]] = field(default_factory=dict)
    latents: torch.Tensor = field(default_factory=lambda: torch.zeros(0))
    features: list[torch.Tensor] = field(default_factory=list)


@contextmanager
def recorded(
    unet: nn.Module, timesteps: Sequence[float] | torch.Tensor, *, copies: int = 1, frames: int = 1
) -> Iterator[Recording]:
    """Looks on while `unet` runs inside the block; the recording is complete when it ends.

    Args:
        unet: any diffusers U-Net. FreeU may be applied inside the block: backbone and skip are seen before it acts.
        timesteps: of one denoising run; batches run one after another, each through all of them.
        copies: how often a prompt stands in a batch, 2 under classifier-free guidance: the last one is looked at.
        frames: of each video; an image is one.

    Raises:
        UserError: the U-Net has no concatenations, or all its maps are too small to have high frequencies.
    """
    watch = _Watch(unet, torch.as_tensor(timesteps, dtype=torch.float64).tolist(), copies, frames)
    handles = watch.hook()
    result = Recording()
    try:
        yield result
    finally:
        for handle in handles:
            handle.remove()
    watch.into(result)


class _Watch:
    """The hooks, and what they have seen."""

    def __init__(self, unet: Any, timesteps: list[float], copies: int, frames: int) -> None:
        self.unet, self.timesteps, self.copies, self.frames = unet, timesteps, copies, frames
        names = {module: name for name, module in unet.named_modules()}
        self.sites = {names[site.resnet].removeprefix("_orig_mod."): site for site in find_sites(unet)}
        # Of latents; some U-Nets are told a picture beside them, and ControlNet-XS' config has none.
        self.channels: int = unet.config.get("out_channels") or unet.base_conv_out.out_channels
        steps = len(timesteps)
        self.shown = tuple(dict.fromkeys(round(i * (steps - 1) / (SHOWN - 1)) for i in range(SHOWN)))
        self.closer = self.shown[len(self.shown) // 2]
        self.sizes: dict[str, tuple[int, int]] = {}
        self.batches: list[dict[Any, list[np.ndarray]]] = []
        self.kept: dict[Any, torch.Tensor] = {}
        self.step = -1
        self.prompts = 0
        self.before: tuple[torch.Tensor, torch.Tensor] | None = None
        self.now: dict[Any, torch.Tensor] = {}

    def hook(self) -> list[Any]:
        """Registers them; gives what removes them."""
        handles: list[Any] = [
            self.unet.register_forward_pre_hook(self._begin, with_kwargs=True),
            self.unet.register_forward_hook(self._end),
        ]
        for name, site in self.sites.items():
            handles.append(site.resnet.register_forward_pre_hook(self._joined(name, site), with_kwargs=True))
            handles.append(site.resnet.register_forward_hook(self._fused(name)))
        return handles

    @torch.no_grad()
    def _begin(self, unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs["sample"]
        time = float(torch.as_tensor(args[1] if len(args) > 1 else kwargs["timestep"]).reshape(-1)[0])
        self.step += 1
        # A batch that ran out of memory begins anew, at half its size.
        again = self.step < len(self.timesteps) and time == self.timesteps[0] != self.timesteps[self.step]
        if again and self.batches:
            self.batches.pop()
        if self.step in (0, len(self.timesteps)) or again:
            self.step, self.before = 0, None
            self.batches.append({})
        axis = 2 if type(unet).__name__ in CONTINUOUS else 1
        latents = sample.narrow(axis, 0, self.channels)
        folded = self.frames if sample.ndim == 4 else 1
        self.prompts = sample.shape[0] // (self.copies * folded)
        if sample.ndim == 5 and axis == 1:
            latents = latents.movedim(2, 1)
        latents = self._of_prompts(latents)
        self.now = {}
        amplitude, share = spectrum(latents.flatten(1, 2))
        low, high = parts(latents)
        if self.before is not None:
            moves = [_size(part - last) / _size(last) for part, last in zip((low, high), self.before, strict=True)]
            self.now["change"] = torch.stack(moves, dim=1)
        self.before = (low, high)
        self.now |= {"latent": amplitude, "latent share": share}
        if self.step in self.shown and len(self.batches) == 1:
            self.kept["latents", self.step] = _middle(latents)[0].float().cpu()

    def _joined(self, name: str, site: Site) -> Any:
        @torch.no_grad()
        def look(resnet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            joined = args[0] if args else kwargs["input_tensor"]
            self.sizes[name] = tuple(joined.shape[-2:])
            for kind, features in (("backbone", joined[:, : site.width]), ("skip", joined[:, site.width :])):
                found = self._features(name, kind, features)
                if self.step in self.shown:
                    mean = _middle(found).mean(1, dtype=torch.float32)
                    height, width = (min(LARGEST, side) for side in mean.shape[-2:])
                    self.now["map", kind, name] = F.adaptive_avg_pool2d(mean, (height, width))

        return look

    def _fused(self, name: str) -> Any:
        @torch.no_grad()
        def look(resnet: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> None:
            found = self._features(name, "fused", output)
            if self.step == self.closer and len(self.batches) == 1:
                self.kept["features", name] = _middle(found)[0].to("cpu", torch.float32)

        return look

    def _features(self, name: str, kind: str, features: torch.Tensor) -> torch.Tensor:
        """Notes their spectrum; gives them by prompt."""
        if features.ndim == 5:
            features = features.movedim(2, 1)
        found = self._of_prompts(features)
        self.now[kind, name], self.now["share", kind, name] = spectrum(found.flatten(1, 2))
        return found

    def _of_prompts(self, x: torch.Tensor) -> torch.Tensor:
        """(batch or batch x frames, …, c, H, W) as (prompts, frames, c, H, W), of the last copy."""
        return x.reshape(self.copies, self.prompts, -1, *x.shape[-3:])[-1]

    def _end(self, unet: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Takes what a step found off the device, in one go."""
        flat = torch.cat([each.flatten() for each in self.now.values()]).cpu()
        for (key, each), values in zip(
            self.now.items(), flat.split([each.numel() for each in self.now.values()]), strict=True
        ):
            self.batches[-1].setdefault(key, []).append(values.view(each.shape).numpy().copy())

    def into(self, result: Recording) -> None:
        """Puts all batches together."""
        names = [name for name in self.sites if min(self.sizes.get(name, (0, 0))) >= LEAST]
        if not self.batches:
            raise UserError("nothing was recorded: the U-Net didn't run")
        if not names:
            raise UserError(
                f"the decoder's maps are {', '.join(f'{h} x {w}' for h, w in self.sizes.values())}: below {LEAST} "
                "pixels there are no high frequencies to look at; take a larger resolution"
            )
        sizes = tuple(self.sizes[name] for name in names)
        result.names, result.sites, result.sizes = tuple(names), tuple(self.sites[name] for name in names), sizes
        result.timesteps, result.shown = np.array(self.timesteps), self.shown
        result.spectra = {kind: [self._all((kind, name)) for name in names] for kind in KINDS}
        result.shares = {
            kind: np.stack([self._all(("share", kind, name)) for name in names], axis=-1) for kind in KINDS
        }
        result.latent_spectra, result.latent_shares = self._all("latent"), self._all("latent share")
        if len(self.timesteps) > 1:
            result.changes = self._all("change")
        result.maps = {kind: [self._all(("map", kind, name)) for name in names] for kind in KINDS[:2]}
        result.latents = torch.stack([self.kept["latents", step] for step in self.shown])
        result.features = [self.kept["features", name] for name in names]

    def _all(self, key: Any) -> np.ndarray:
        return np.concatenate([np.stack(batch[key], axis=1) for batch in self.batches])


def _middle(x: torch.Tensor) -> torch.Tensor:
    """The middle frame of (prompts, frames, c, H, W)."""
    return x[:, x.shape[1] // 2]


def _size(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1).norm(dim=1)
