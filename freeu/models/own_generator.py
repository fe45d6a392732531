"""A generator of the user's own, for U-Nets that are not diffusers': `--model package.module:make_generator`.

The function takes what of device, dtype, steps, guidance and batch_size it names, and returns an object with

    generate(prompts, seeds, factors) -> uint8 tensor (n, 3, H, W)

which runs its U-Net under `factors`, with `freeu.modulate` at each concatenation. See docs/own-model.md.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from configs import UserError
from freeu.factors import Factors
from freeu.generate import GenerationError, OnStep, check_lit

from .spec import ModelSpec


class Own:
    """What `generate` alone doesn't say, filled in; see `freeu.generate.Generator`."""

    def __init__(self, inner: Any, spec: ModelSpec, identity: str, evaluations: int) -> None:
        self._inner = inner
        self._evaluations = evaluations
        self.name = spec.name
        self.identity = str(getattr(inner, "identity", identity))
        self.image_size = tuple(getattr(inner, "image_size", (spec.resolution, spec.resolution)))
        self.max_tokens = int(getattr(inner, "max_tokens", 77))

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

    def with_steps(self, steps: int) -> Own:
        """Not here: the object was made with its steps."""
        raise UserError(
            f"--low-steps {steps}: a generator of one's own has the steps that it was made with; leave it out"
        )

    def prepare(self, prompts: Sequence[str]) -> None:
        """As the object does it, where it has something to do."""
        prepare = getattr(self._inner, "prepare", None)
        if prepare is not None:
            prepare(list(prompts))


def load(spec: ModelSpec, **options: Any) -> Own:
    """Calls the user's function; see `freeu.models.load_generator`.

    Raises:
        UserError: no such module or function, or what it returns has no `generate`.
    """
    module, _, name = spec.source.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"--model {spec.source}: {error}; the module is looked for in this folder and among what is installed"
        ) from error
    options |= {"steps": spec.steps, "guidance": spec.guidance}
    try:
        signature = inspect.signature(make)
        takes_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values())
        given = {key: value for key, value in options.items() if takes_all or key in signature.parameters}
        signature.bind(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"--model {spec.source}: called with what it names of {', '.join(options)}: {error}") from error
    inner = make(**given)
    if not callable(getattr(inner, "generate", None)):
        raise UserError(f"--model {spec.source} returned {type(inner).__name__}, which has no method generate")
    source = inspect.getsourcefile(make)
    content = Path(source).read_bytes() if source else spec.source.encode()
    evaluations = options["steps"] * (2 if options["guidance"] > 1 else 1)
    return Own(inner, spec, hashlib.sha256(content).hexdigest(), evaluations)
