"""FreeU on a diffusers U-Net, for the length of a `with` block or until it is switched off.

What acts are hooks (`freeu.hooks`), which are put in place and taken away here. Enabled (`enable`), they stay where
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

from .factors import FactorsError
from .hooks import BeforeResnet, BeforeUNet, Patch
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


_Hook = BeforeUNet | BeforeResnet


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
    patch, controls = Patch(setting, unet), setting.factors.controls
    if controls.scheduled and setting.scheduler is None and type(unet).__name__ in CONTINUOUS:
        raise FactorsError(
            f"the timesteps of {type(unet).__name__} don't say where a step stands in its run: give the pipeline's "
            "scheduler as the third argument of freeu.applied, or the pipeline to freeu.enable"
        )
    touched = setting.stages_touched()
    for site in sites:
        if setting.live or site.stage(setting.factors.stages) in touched:
            patch.hooks.append(BeforeResnet(patch, site))
            site.resnet.register_forward_pre_hook(patch.hooks[-1], with_kwargs=True)
    if _before_unet_wanted(patch):
        _tell(unet, patch)
    return bool(patch.hooks)


def _before_unet_wanted(patch: Patch) -> bool:
    """Whether something has to be known before the U-Net runs."""
    setting, acting = patch.setting, [hook for hook in patch.hooks if hook.stage is not None]
    controls = setting.factors.controls
    wide = any(hook.fixed["threshold"] > 1 for hook in acting)
    shared = any(hook.shared for hook in acting)
    return bool(acting) and (len(setting.candidates) > 1 or controls.scheduled or wide or shared)


def _tell(unet: nn.Module, patch: Patch) -> None:
    module = getattr(unet, "_orig_mod", unet)
    module.register_forward_pre_hook(BeforeUNet(patch), with_kwargs=True)
    if _compiled(unet):
        torch.compiler.reset()


def _told(unet: nn.Module) -> bool:
    return any(isinstance(hook, BeforeUNet) for _, _, hook in _hooks(unet))


def watched(unet: nn.Module) -> bool:
    """Whether someone else looks on at the U-Net's calls."""
    ours = {key for _, key, hook in _hooks(unet) if isinstance(hook, BeforeUNet)}
    return bool(unet._forward_hooks) or bool(unet._forward_pre_hooks.keys() - ours)


def _hooks(unet: nn.Module) -> list[tuple[nn.Module, int, _Hook]]:
    """Ours, with the module and the key that each is registered under."""
    found = ((module, key, hook) for module in unet.modules() for key, hook in module._forward_pre_hooks.items())
    return [(module, key, hook) for module, key, hook in found if isinstance(hook, _Hook)]


def _patch(unet: nn.Module) -> Patch | None:
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
