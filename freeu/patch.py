"""FreeU on a diffusers U-Net, for the length of a `with` block or until it is switched off.

A forward pre-hook on each decoder resnet changes the concatenation that it is about to read; nothing of the U-Net's
code is copied or replaced, and its weights are not touched. The hooks read the factors from a tensor, so that other
factors are other values in it, and a compiled U-Net is not compiled again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from configs import UserError

from .concat import modulate, modulate_
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
        like = next(unet.parameters())
        device = "cpu" if like.device.type == "meta" else like.device  # sequential offload leaves no weights here
        # A table made under inference_mode could not be changed outside of it.
        with torch.inference_mode(False):
            self.table = setting.table(at_least_float32(like.dtype)).to(device)
        self.now = self.table
        self.controlled = False
        """A ControlNet adds to backbone and skips in this pass, so that no two of them are one tensor."""

    def set(self, setting: Setting) -> None:
        """Other values in the same structure."""
        self.setting = setting
        self.table.copy_(setting.table(self.table.dtype))


class _BeforeUNet:
    """Checks a batch and spreads the candidates over it, before the U-Net runs; tells whether a ControlNet acts."""

    def __init__(self, patch: _Patch, touched: Sequence[tuple[Site, int]]) -> None:
        self.patch = patch
        self.touched = touched
        self.steps = Steps(patch.setting.scheduler)

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
        for site, stage in self.touched:
            check_threshold(int(controls.of(stage, "threshold")), *site.size(*sample.shape[-2:]))
        values = self.patch.table.to(sample.device)
        if count > 1:
            values = values.repeat(1, 1, batch // count)
        if controls.scheduled:
            times = torch.as_tensor(timestep, device=sample.device).reshape(-1)
            values = 1 + (values - 1) * weight(*self.steps(times), controls).to(values.dtype)
        self.patch.now = values
        self.patch.controlled = kwargs.get("mid_block_additional_residual") is not None


class _BeforeResnet:
    """Changes the first argument of a resnet: the concatenation (n, width + d, H, W), fresh from torch.cat.

    diffusers' enable_freeu amplifies the backbone in place. Where that is also the skip, the skip it filters is
    amplified too, and so it is here where that is asked for (version 1 by block).
    """

    def __init__(self, patch: _Patch, site: Site, stage: int) -> None:
        setting = patch.setting
        controls = setting.factors.controls
        self.patch = patch
        self.channels = site.width
        self.stage = stage
        self.acts = setting.acts(stage)
        self.shared = site.shared and self.acts[0] and _as_diffusers(setting)
        self.fixed: dict[str, Any] = {
            "version": setting.factors.version,
            "threshold": int(controls.of(stage, "threshold")),
            "offset": controls.of(stage, "offset"),
            "width": controls.of(stage, "width"),
            "symmetric": controls.symmetric,
        }

    def __call__(
        self, resnet: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not args:  # AnimateDiff's blocks pass it by name
            return args, {**kwargs, "input_tensor": self.changed(kwargs["input_tensor"])}
        return (self.changed(args[0]), *args[1:]), kwargs

    def changed(self, joined: torch.Tensor) -> torch.Tensor:
        """The concatenation with FreeU, in place where no gradients are taken."""
        values = self.patch.now[self.stage - 1]
        if values.shape[1] > 1:
            values = values.repeat_interleave(joined.shape[0] // values.shape[1], dim=1)  # a sample's frames
        b, s, high = (value if acts else 1.0 for value, acts in zip(values, self.acts, strict=True))
        if self.shared and not self.patch.controlled:
            hidden, _ = modulate(joined[:, : self.channels], joined[:, self.channels :], b, 1.0, **self.fixed)
            joined, b = torch.cat([hidden, hidden], dim=1), 1.0
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
    if setting and patch and patch.setting.structure == setting.structure:
        patch.set(setting)
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
    stages = [(site, site.stage(setting.factors.stages)) for site in sites]
    touched = [(site, stage) for site, stage in stages if stage is not None and any(setting.acts(stage))]
    for site, stage in touched:
        site.resnet.register_forward_pre_hook(_BeforeResnet(patch, site, stage), with_kwargs=True)
    wide = any(controls.of(stage, "threshold") > 1 for _, stage in touched)
    shared = _as_diffusers(setting) and any(site.shared for site, _ in touched)
    if touched and (len(setting.candidates) > 1 or controls.scheduled or wide or shared):
        unet.register_forward_pre_hook(_BeforeUNet(patch, touched), with_kwargs=True)
    return bool(touched)


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
    return hasattr(unet, "_orig_mod") or any(module._compiled_call_impl for module in unet.modules())
