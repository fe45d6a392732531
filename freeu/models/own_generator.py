"""A generator of the user's own, for U-Nets that are not diffusers': `--model package.module:make_generator`.

The function takes what of device, dtype, steps, guidance and batch_size it names, must name the other sampling settings
that a study is given (scheduler, size, negative_prompt, …), and returns an object with

    generate(prompts, seeds, factors) -> uint8 tensor (n, 3, H, W)

which runs its U-Net under `factors`, with `freeu.modulate` at each concatenation. See docs/own-model.md.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from configs import UserError
from configs.object_identity import object_identity
from freeu.factors import Factors
from freeu.generate import GenerationError, OnStep, check_lit
from freeu.sampling import UNCHANGED, Sampling

from .changes import UNASKED
from .spec import ModelSpec

METHODS = ("unet_evaluations", "too_long", "prepare", "with_sampling")
"""What an object may have beside `generate`."""


class Own:
    """What `generate` alone doesn't say, filled in; see `freeu.generate.Generator`."""

    def __init__(self, inner: Any, spec: ModelSpec) -> None:
        """Raises UserError where an attribute of `inner` is not what docs/own-model.md says."""
        self._inner, self._spec = inner, spec
        self._evaluations = spec.steps * (2 if spec.guidance > 1 else 1)
        self.name = spec.name

        def attribute(name: str, fits: Callable[[Any], bool], expected: str) -> Any:
            found = getattr(inner, name, None)
            if found is not None and not fits(found):
                raise UserError(f"--model {spec.source}: its {name} is {found!r}: expected {expected}")
            return found

        for name in METHODS:
            attribute(name, callable, "a method")
        told = attribute("identity", lambda found: isinstance(found, str) and found != "", "a text that isn't empty")
        self.identity = told or object_identity(inner, spec.source.partition(":")[0]) or ""
        size = attribute("image_size", _is_size, "(height, width) in pixels")
        self.image_size = spec.image_size if size is None else (size[0], size[1])
        tokens = attribute("max_tokens", _is_count, "a number of tokens")
        self.max_tokens = 77 if tokens is None else tokens

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_step: OnStep | None = None,
    ) -> torch.Tensor:
        """Checked, so that a mistake there is told here and not by a metric."""
        images = self._inner.generate(list(prompts), list(seeds), factors)
        shape = tuple(getattr(images, "shape", ()))
        if not isinstance(images, torch.Tensor) or images.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3:
            kind = getattr(images, "dtype", type(images).__name__)
            raise GenerationError(f"generate gave {kind} {shape}: expected a uint8 tensor (n, 3, H, W)")
        if len(images) != len(prompts):
            raise GenerationError(f"generate gave {len(images)} images for {len(prompts)} prompts")
        for prompt, image in zip(prompts, images, strict=True):
            check_lit(bool(image.any()), prompt)
        if on_step is not None:
            on_step(len(images))
        return images.cpu()

    def unet_evaluations(self, n: int) -> int:
        """As the object counts them, else as steps and guidance have it."""
        counted = getattr(self._inner, "unet_evaluations", None)
        return int(counted(n)) if counted is not None else n * self._evaluations

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """As the object says, else none."""
        told = getattr(self._inner, "too_long", None)
        return list(told(prompts)) if told is not None else []

    def with_sampling(self, sampling: Sampling) -> Own:
        """As the object does it, from the settings that are set, by name; else not, since it was made with its own."""
        if sampling == UNCHANGED:
            return self
        change = getattr(self._inner, "with_sampling", None)
        named = ", ".join(f"{name} {value}" for name, value in sampling.as_dict().items())
        if change is None:
            raise UserError(
                f"{named}: a generator of one's own has the sampling settings that it was made with, unless it has a "
                "method with_sampling; leave it out"
            )
        spec = self._spec.sampled(sampling)
        try:
            return Own(change(**sampling.as_dict()), spec)
        except TypeError as error:
            raise UserError(f"--model {spec.source}: with_sampling called with {named}: {error}") from error

    def prepare(self, prompts: Sequence[str], samplings: Sequence[Sampling] = ()) -> None:
        """As the object does it, where it has something to do."""
        prepare = getattr(self._inner, "prepare", None)
        if prepare is not None:
            prepare(list(prompts))


def load(spec: ModelSpec, **options: Any) -> Own:
    """Calls the user's function; see `freeu.models.load_generator`.

    Raises:
        UserError: no such module or function, it raised something, or what it returns is no generator.
    """
    make = _made_by(spec)
    options |= {"steps": spec.steps, "guidance": spec.guidance}
    try:
        signature = inspect.signature(make)
        takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
        given = {key: value for key, value in options.items() if takes_all or key in signature.parameters}
        for name, value in _asked(spec).items():
            if not takes_all and name not in signature.parameters:
                raise UserError(
                    f"--{name.replace('_', '-')}: {spec.source} takes no {name}: add it to its parameters, or leave it "
                    "out"
                )
            given[name] = value
        signature.bind(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"--model {spec.source}: called with what it names of {', '.join(options)}: {error}") from error
    try:
        inner = make(**given)
    except Exception as error:  # the user's code: any
        raise _raised(spec, error) from error
    if not callable(getattr(inner, "generate", None)):
        raise UserError(f"--model {spec.source} returned {type(inner).__name__}, which has no method generate")
    return Own(inner, spec)


def _asked(spec: ModelSpec) -> dict[str, Any]:
    """The sampling settings beyond steps and guidance that are set; size is (width, height)."""
    found = {
        "scheduler": None if spec.scheduler in UNASKED else spec.scheduler,
        "size": spec.size,
        "negative_prompt": spec.negative_prompt or None,
        "negatives": spec.negatives or None,
        "clip_skip": spec.clip_skip,
        "guidance_rescale": spec.guidance_rescale or None,
        "pag_scale": spec.pag_scale or None,
        "eta": spec.eta,
    }
    return {name: value for name, value in found.items() if value is not None}


def _made_by(spec: ModelSpec) -> Any:
    """The user's function: any callable."""
    module, _, name = spec.source.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"--model {spec.source}: {error}; the module is looked for in this folder and among what is installed"
        ) from error
    except Exception as error:  # the user's code: any
        raise _raised(spec, error) from error


def _raised(spec: ModelSpec, error: Exception) -> UserError:
    """What the user's code raised, with the line that did."""
    if isinstance(error, UserError):
        return error
    at = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())[:200]
    return UserError(
        f"--model {spec.source} raised {type(error).__name__}: {said} ({Path(at.filename).name}, line {at.lineno})"
    )


def _is_size(found: Any) -> bool:
    return isinstance(found, list | tuple) and len(found) == 2 and all(map(_is_count, found))


def _is_count(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found > 0
