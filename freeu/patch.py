"""FreeU on a diffusers U-Net, for the length of a `with` block or until it is switched off.

A forward pre-hook on each decoder resnet changes the concatenation that it is about to read; nothing of the U-Net's
code is copied or replaced, and its weights are not touched. The hooks read the factors from a tensor, so that other
factors are other values in it, and a compiled U-Net is not compiled again. Enabled (`enable`), the hooks stay where
they are, whatever FreeU comes next: dynamo guards what they read, and so compiles once for each version, convention and
threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from configs import UserError

from .backbone import gain
from .concat import channels_of, modulate, modulate_
from .factors import FactorsError
from .filter import at_least_float32, check_threshold
from .schedule import Steps, weight
from .setting import Choice, Setting
from .sites import Site, find_sites

CONTINUOUS = ("UNetSpatioTemporalConditionModel",)
"""U-Nets whose timesteps are no numbers from 0 to 999 (Stable Video Diffusion's are logarithms of noise)."""


@contextmanager
def applied(target: Any, factors: Choice | Sequence[Choice], scheduler: Any = None) -> Iterator[Any]:
    """Runs a pipeline or a U-Net with FreeU inside the block, and gives it back; what was before is restored when the
    block ends, also by an exception.

    Factors of 1 put no hook, so the output is bit-identical to the plain U-Net's. Where blocks are nested, or FreeU is
    enabled already, the innermost counts.

    Args:
        target: any diffusers U-Net, compiled or not, or a pipeline that has one.
        factors: `freeu.Factors`, a preset or its file; or a list of k of them, of which sample i of a batch gets number
            i modulo k: [a, b, a, b] under classifier-free guidance, where the batch comes doubled. Frames of a video
            belong to its sample.
        scheduler: where the controls have a schedule; a pipeline brings its own. Without one a step's place is told
            from its timestep, of 1000.

    Raises:
        UserError: there is no U-Net, it has no concatenations, or diffusers' own FreeU is on.
        FactorsError: a list of candidates that can't share a batch; at the forward, before anything of it runs, a batch
            that the list doesn't divide, or a threshold larger than a map.
    """
    unet = _unet(target)
    scheduler = getattr(target, "scheduler", None) if scheduler is None else scheduler
    patch = _patch(unet)
    before = patch.setting if patch else None
    if before:
        _switch(unet, Setting.of(factors, scheduler or before.scheduler, before.live))
    else:
        _switch(unet, Setting.of(factors, scheduler))
    try:
        yield target
    finally:
        _switch(unet, before)


def enable(target: Any, factors: Choice | Sequence[Choice]) -> None:
    """Switches FreeU on for a pipeline or a U-Net, until `disable`; again with other factors, it changes them.

    To use it with `torch.compile`, enable it first and compile then: changing the factors, here or by `applied`, does
    not recompile. Arguments and errors are those of `applied`; a pipeline brings its scheduler.
    """
    _switch(_unet(target), Setting.of(factors, getattr(target, "scheduler", None), live=True))


def disable(target: Any) -> None:
    """Switches FreeU off for a pipeline or a U-Net; where it is not on, nothing happens."""
    _switch(_unet(target), None)


def _unet(target: Any) -> nn.Module:
    name, found = type(target).__name__, getattr(target, "unet", target)
    if any(hasattr(found, part) for part in ("transformer", "transformer_blocks")):
        raise UserError(f"{name} has a transformer and no U-Net: it has no skips for FreeU to act on")
    if not isinstance(found, nn.Module):
        raise UserError(f"{name} has no U-Net for FreeU to act on: give a pipeline that has one, or the U-Net")
    return found


class _Patch:
    """The values that a U-Net's hooks read."""

    def __init__(self, setting: Setting, unet: nn.Module) -> None:
        self.setting = setting
        self.hooks: list[_BeforeResnet] = []
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


class _BeforeUNet:
    """Checks a batch and spreads the candidates over it, before the U-Net runs; tells whether a ControlNet acts."""

    def __init__(self, patch: _Patch) -> None:
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


class _BeforeResnet:
    """Changes the first argument of a resnet: the concatenation (n, width + d, H, W), fresh from torch.cat.

    diffusers' enable_freeu amplifies the backbone in place. Where that is also the skip, the skip it filters is
    amplified too, and so it is here where that is asked for (version 1 by block).
    """

    def __init__(self, patch: _Patch, site: Site) -> None:
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


_Hook = _BeforeUNet | _BeforeResnet


def _switch(unet: nn.Module, setting: Setting | None) -> None:
    """Brings the U-Net to `setting`, from whatever it is at; None is off."""
    patch = _patch(unet)
    if setting and patch and ((setting.live and patch.setting.live) or patch.setting.structure == setting.structure):
        patch.set(setting.within(patch.setting) if setting.live else setting)
        if setting.live and _before_unet_wanted(patch) and not _told(unet):
            _tell(unet, patch)
        return
    sites = () if setting is None else _sites(unet)
    changed = _remove(unet)
    if setting:
        changed |= _install(getattr(unet, "_orig_mod", unet), sites, setting)
    if changed and _compiled(unet):
        torch.compiler.reset()  # it doesn't look whether hooks have come or gone


def _sites(unet: nn.Module) -> tuple[Site, ...]:
    blocks: Any = getattr(unet, "up_blocks", ())
    if any(getattr(block, name, None) is not None for block in blocks for name in ("b1", "b2", "s1", "s2")):
        raise UserError("diffusers' FreeU is on for this U-Net: call disable_freeu() first, or it would act twice")
    return find_sites(getattr(unet, "_orig_mod", unet))


def _install(unet: nn.Module, sites: Sequence[Site], setting: Setting) -> bool:
    patch, controls = _Patch(setting, unet), setting.factors.controls
    if controls.scheduled and setting.scheduler is None and type(unet).__name__ in CONTINUOUS:
        raise FactorsError(
            f"the timesteps of {type(unet).__name__} don't say where a step stands in its run: give the pipeline's "
            "scheduler as the third argument of freeu.applied, or the pipeline to freeu.enable"
        )
    touched = setting.stages_touched()
    for site in sites:
        if setting.live or site.stage(setting.factors.stages) in touched:
            patch.hooks.append(_BeforeResnet(patch, site))
            site.resnet.register_forward_pre_hook(patch.hooks[-1], with_kwargs=True)
    if _before_unet_wanted(patch):
        _tell(unet, patch)
    return bool(patch.hooks)


def _before_unet_wanted(patch: _Patch) -> bool:
    """Whether something has to be known before the U-Net runs."""
    setting, acting = patch.setting, [hook for hook in patch.hooks if hook.stage is not None]
    controls = setting.factors.controls
    wide = any(hook.fixed["threshold"] > 1 for hook in acting)
    shared = any(hook.shared for hook in acting)
    return bool(acting) and (len(setting.candidates) > 1 or controls.scheduled or wide or shared)


def _tell(unet: nn.Module, patch: _Patch) -> None:
    module = getattr(unet, "_orig_mod", unet)
    module.register_forward_pre_hook(_BeforeUNet(patch), with_kwargs=True)
    if _compiled(unet):
        torch.compiler.reset()


def _told(unet: nn.Module) -> bool:
    return any(isinstance(hook, _BeforeUNet) for _, _, hook in _hooks(unet))


def watched(unet: nn.Module) -> bool:
    """Whether someone else looks on at the U-Net's calls."""
    ours = {key for _, key, hook in _hooks(unet) if isinstance(hook, _BeforeUNet)}
    return bool(unet._forward_hooks) or bool(unet._forward_pre_hooks.keys() - ours)


def _hooks(unet: nn.Module) -> list[tuple[nn.Module, int, _Hook]]:
    """Ours, with the module and the key that each is registered under."""
    found = ((module, key, hook) for module in unet.modules() for key, hook in module._forward_pre_hooks.items())
    return [(module, key, hook) for module, key, hook in found if isinstance(hook, _Hook)]


def _patch(unet: nn.Module) -> _Patch | None:
    return next((hook.patch for _, _, hook in _hooks(unet)), None)


def _remove(unet: nn.Module) -> bool:
    found = _hooks(unet)
    for module, key, _ in found:
        del module._forward_pre_hooks[key]
        module._forward_pre_hooks_with_kwargs.pop(key, None)
    return bool(found)


def _compiled(unet: nn.Module) -> bool:
    """Whether its hooks are part of what is compiled; the U-Net's own are not where its `forward` alone is."""
    return hasattr(unet, "_orig_mod") or any(module._compiled_call_impl for module in unet.modules())
