"""A process of its own for each call, since a process's peak of memory never falls.

On a CPU it is forked from one that has imported torch and diffusers and done nothing else; a card wants it begun anew.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, TypeVar

Found = TypeVar("Found")
IMPORTED = ["torch", "diffusers.models.unets.unet_2d_condition", "freeu.figures", "freeu.models.load"]


def called(function: Callable[..., Found], *arguments: Any, device: str) -> Found:
    """What the function returns there. device: cpu or cuda."""
    context = get_context("forkserver" if device == "cpu" else "spawn")
    context.set_forkserver_preload(IMPORTED)
    with context.Pool(1) as process:
        return process.apply(function, arguments)
