"""The devices that can be named, and what people call them elsewhere."""

from __future__ import annotations

import re

from configs import UserError, unknown

KNOWN = ("cpu", "cuda", "cuda:0", "mps")
NAME = re.compile(r"cpu|mps|cuda(:\d+)?")
ELSEWHERE = {
    **dict.fromkeys(("gpu", "nvidia", "amd", "rocm", "hip"), "cuda"),  # torch calls AMD's so, too
    **dict.fromkeys(("metal", "apple"), "mps"),
}


def check(name: str) -> None:
    """Raises UserError where no device is called so, with the one that is meant."""
    if not NAME.fullmatch(name):
        kind, colon, index = name.lower().partition(":")
        meant = f"{ELSEWHERE.get(kind, kind)}{colon}{index}"
        raise unknown("device", name, KNOWN, meant if NAME.fullmatch(meant) else ELSEWHERE.get(kind))


def check_present(name: str) -> None:
    """Raises UserError where no device is called so, or this machine has it not."""
    import torch

    check(name)
    kind, _, index = name.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    if int(index or 0) >= count:
        raise UserError(f"this machine has no device {name!r}: try --device cpu")
