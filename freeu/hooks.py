"""The hooks by which FreeU acts in a U-Net, and the values that they read; `freeu.patch` puts them there.

A forward pre-hook on each decoder resnet changes the concatenation that it is about to read; nothing of the U-Net's
code is copied or replaced, and its weights are not touched. The hooks read the factors from a tensor, so that other
factors are other values in it, and a compiled U-Net is not compiled again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .backbone import gain
from .concat import channels_of, modulate, modulate_
from .factors import FactorsError
from .filter import at_least_float32, check_threshold
from .schedule import Steps, weight
from .setting import Setting
from .sites import Site


class Patch:
    """The values that a U-Net's hooks read."""

    def __init__(self, setting: Setting, unet: nn.Module) -> None:
        self.setting = setting
        self.hooks: list[BeforeResnet] = []
        like = next(unet.parameters())
        device = "cpu" if like.device.type == "meta" else like.device  # sequential offload leaves no weights here
        # A table made under inference_mode could not be changed outside of it.
        with torch.inference_mode(False):
            self.table = setting.table(at_least_float32(like.dtype)).to(device)
            self.now = self.table.clone()
        self.controlled = False
        """A ControlNet adds to backbone and skips in this pass, so that no two of them are one tensor."""

    def set(self, setting: Setting) -> None:
        """Other values in the same structure; where the hooks stay, in any."""
        self.setting = setting
        if setting.live:
            for hook in self.hooks:
                hook.set(setting)
        self.fill(self.table, setting.table(self.table.dtype))
        self.fill(self.now, self.table)

    def fill(self, kept: torch.Tensor, values: torch.Tensor) -> None:
        """In place, where the number of candidates allows it: what is compiled knows the tensor."""
        if kept.shape == values.shape:
            kept.copy_(values)
        else:
            with torch.inference_mode(False):
                other = values.to(kept.device, copy=True)
            if kept is self.table:
                self.table = other
            else:
                self.now = other


class BeforeUNet:
    """Checks a batch and spreads the candidates over it, before the U-Net runs; tells whether a ControlNet acts."""

    def __init__(self, patch: Patch) -> None:
        self.patch = patch
        self.steps, self.scheduler = Steps(patch.setting.scheduler), patch.setting.scheduler

    def __call__(self, unet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs["sample"]
        timestep = args[1] if len(args) > 1 else kwargs.get("timestep")
        setting = self.patch.setting
        controls, count, batch = setting.factors.controls, len(setting.candidates), sample.shape[0]
        if batch % count:
            raise FactorsError(
                f"{count} factors for a batch of {batch}: their number has to divide it (it counts the prompts twice "
                "under classifier-free guidance)"
            )
        for hook in self.patch.hooks:
            if hook.stage is not None:
                check_threshold(int(controls.of(hook.stage, "threshold")), *hook.site.size(*sample.shape[-2:]))
        values = self.patch.table.to(sample.device)
        if count > 1:
            values = values.repeat(1, 1, batch // count)
        if controls.scheduled:
            if self.scheduler is not setting.scheduler:
                self.steps, self.scheduler = Steps(setting.scheduler), setting.scheduler
            times = torch.as_tensor(timestep, device=sample.device).reshape(-1)
            values = 1 + (values - 1) * weight(*self.steps(times), controls).to(values.dtype)
        self.patch.fill(self.patch.now, values)
        self.patch.controlled = kwargs.get("mid_block_additional_residual") is not None


class BeforeResnet:
    """Changes the first argument of a resnet: the concatenation (n, width + d, H, W), fresh from torch.cat.

    diffusers' enable_freeu amplifies the backbone in place. Where that is also the skip, the skip it filters is
    amplified too, and so it is here where that is asked for (version 1 by block).
    """

    def __init__(self, patch: Patch, site: Site) -> None:
        self.patch, self.site = patch, site
        self.channels = site.width
        self.stage: int | None = None
        self.acts = (False, False, False)
        self.fixed: dict[str, Any] = {}
        self.mask: torch.Tensor | None = None
        """(channels,): 1 where the backbone is amplified; where windows of several sizes came by."""
        self.set(patch.setting)

    def set(self, setting: Setting) -> None:
        """Take over what is not a value of the table. What has acted once goes on to, with values of 1 if need be, and
        a window that has changed once is a mask from then on: neither is another computation then."""
        controls, stage = setting.factors.controls, self.site.stage(setting.factors.stages)
        if stage is None:
            self.stage, self.acts = None, (False, False, False)
            return
        now, before = setting.acts(stage), self.acts if setting.live else (False, False, False)
        self.acts = (now[0] or before[0], now[1] or before[1], now[2] or before[2])
        self.stage = stage
        self.shared = self.site.shared and self.acts[0] and _as_diffusers(setting)
        window = {name: controls.of(stage, name) for name in ("offset", "width")}
        if self.mask is None and self.fixed and any(self.fixed[name] != value for name, value in window.items()):
            with torch.inference_mode(False):
                self.mask = torch.zeros(self.channels, device=self.patch.table.device, dtype=self.patch.table.dtype)
        if self.mask is not None:
            self.mask.zero_()
            for part in channels_of(self.channels, **window):
                self.mask[part] = 1
            window = {"offset": 0.0, "width": 1.0}
        self.fixed = {
            "version": setting.factors.version,
            "threshold": int(controls.of(stage, "threshold")),
            "symmetric": controls.symmetric,
            **window,
        }

    def __call__(
        self, resnet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not args:  # AnimateDiff's blocks pass it by name
            return args, {**kwargs, "input_tensor": self.changed(kwargs["input_tensor"])}
        return (self.changed(args[0]), *args[1:]), kwargs

    def changed(self, joined: torch.Tensor) -> torch.Tensor:
        """The concatenation with FreeU, in place where no gradients are taken."""
        if self.stage is None:
            return joined
        values = self.patch.now[self.stage - 1]
        if values.shape[1] > 1:
            values = values.repeat_interleave(joined.shape[0] // values.shape[1], dim=1)  # a sample's frames
        b, s, high = (value if acts else 1.0 for value, acts in zip(values, self.acts, strict=True))
        if self.shared and not self.patch.controlled:
            hidden, _ = modulate(joined[:, : self.channels], joined[:, self.channels :], b, 1.0, **self.fixed)
            joined, b = torch.cat([hidden, hidden], dim=1), 1.0
        if self.mask is not None and isinstance(b, torch.Tensor):
            hidden = joined[:, : self.channels]
            mask = self.mask.view(-1, *[1] * (joined.ndim - 2))
            factor = 1 + (gain(hidden, b, self.fixed["version"]) - 1) * mask
            joined, b = torch.cat([(hidden * factor).to(joined.dtype), joined[:, self.channels :]], dim=1), 1.0
        if torch.is_grad_enabled():
            # Gradients, and checkpoints that run a second time, need the values that working in place overwrites.
            hidden, skip = joined[:, : self.channels], joined[:, self.channels :]
            return torch.cat(modulate(hidden, skip, b, s, high=high, **self.fixed), dim=1)
        modulate_(joined, self.channels, b, s, high=high, **self.fixed)
        return joined


def _as_diffusers(setting: Setting) -> bool:
    """Whether the factors are those of enable_freeu."""
    return (setting.factors.version, setting.factors.stages) == ("v1", "block")
