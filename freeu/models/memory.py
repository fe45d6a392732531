"""The memory that a model's weights take, told from the headers of its files, and what this machine has left of it."""

from __future__ import annotations

import ctypes
import math
import sys
from contextlib import suppress
from pathlib import Path

from configs import UserError

from . import locate
from .identity import files
from .single import header
from .spec import ModelSpec

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
TOLD_FROM = 1e9
"""Bytes: of less nothing is said."""
UNUSED = ("model_ema.", "__metadata__")
"""What in a single file is not loaded."""


def needed(spec: ModelSpec, dtype: str) -> tuple[float, float] | None:
    """(bytes of the weights in `dtype`, the most while they are read); None where they are not here."""
    if not spec.traits.here or (place := locate.here(spec)) is None:
        return None
    try:
        if place.is_file():
            weights = _numbers(place) * BYTES[dtype]
            return weights, weights + place.stat().st_size  # all of the file is read before the networks are made
        each = [file for file in files(place, spec.variant) if file.suffix in (".safetensors", ".bin")]
        weights = sum(_numbers(file) for file in each) * BYTES[dtype]
        return weights, weights + max((file.stat().st_size for file in each), default=0)
    except (UserError, OSError):  # told where it is loaded
        return None


def free() -> float | None:
    """Bytes that this machine, or the container, can still give; None where that is not known."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        found.append(1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with suppress(OSError, ValueError):  # of a container; "max" is none
        most, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text("ascii") for name in ("max", "current"))
        found.append(float(int(most) - int(used)))
    return min(found) if found else None


def lines(spec: ModelSpec, device: str, dtype: str | None) -> list[str]:
    """For the plan: what the weights take, and a warning where this machine has not so much left."""
    kind = device.partition(":")[0]
    named = dtype or ((spec.dtype or "float16") if kind == "cuda" else "float32")
    found = needed(spec, named)
    if found is None or found[1] < TOLD_FROM:
        return []
    weights, most = found
    said = f"{weights / 1e9:.1f} GB of weights in {named}, {most / 1e9:.1f} GB of memory while they are read"
    left = free()
    if left is None or left >= most:
        return [f"memory      {said}"]
    advice = ", or --dtype bfloat16" if kind == "cpu" and named == "float32" else ""
    return [f"warning     {said}, and this machine has {left / 1e9:.1f} GB left: close other programs{advice}"]


def give_back() -> None:
    """Hand freed memory back to the system, where the C library keeps it."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library than GNU's
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def _numbers(file: Path) -> float:
    """How many a file of weights holds; of a pickle by its size, in 4 bytes each."""
    if file.suffix != ".safetensors":
        return file.stat().st_size / 4
    entries = {name: each for name, each in header(file).items() if not name.startswith(UNUSED)}
    return float(sum(math.prod(each["shape"]) for each in entries.values()))
