"""diffusers without onnxruntime: where that is installed, loading any pipeline of diffusers loads it, for nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "onnxruntime"


@contextmanager
def onnxless() -> Iterator[None]:
    """For the first import of diffusers, which asks once whether onnxruntime is installed: it isn't.

    Afterwards it can be imported as ever. Where diffusers or onnxruntime was imported before, nothing changes.
    """
    hide = NAME not in sys.modules and "diffusers" not in sys.modules
    if hide:
        sys.modules[NAME] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hide:
            del sys.modules[NAME]
