"""The devices that can be named, what people call them elsewhere, and what torch says of the one that is used.

A worker asks torch once (`described`) and hands the answer back: records, cache and plan take that one. Before torch is
loaded there is `likely`, a guess by the drivers' files.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from configs.errors import UserError, unknown

KNOWN = ("cpu", "cuda", "cuda:0", "mps")
NAME = re.compile(r"cpu|mps|cuda(:\d+)?")
ELSEWHERE = {
    **dict.fromkeys(("gpu", "nvidia", "amd", "rocm", "hip"), "cuda"),  # torch calls AMD's so, too
    **dict.fromkeys(("metal", "apple"), "mps"),
}
DRIVERS = tuple(map(Path, ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")))
"""NVIDIA's, WSL2's and AMD's."""


@dataclass(frozen=True)
class Device:
    """A device as torch has it.

    Attributes:
        name: as torch takes it: "cuda", "cuda:1", "cpu", "mps".
        model: of a GPU, as "NVIDIA H100 80GB HBM3"; empty for others, or where nobody has asked yet.
        memory: bytes of it; 0 as above.
        capability: as "9.0"; empty as above.
        dtype: that the model runs in, as "float16"; empty where that is not known.
    """

    name: str
    model: str = ""
    memory: int = 0
    capability: str = ""
    dtype: str = ""

    @property
    def kind(self) -> str:
        """cpu, cuda or mps."""
        return self.name.partition(":")[0]

    @property
    def exact(self) -> str:
        """Equal where the same model gives the same numbers: the kind, of a GPU its model and type of numbers too."""
        return " ".join(filter(None, (self.kind, self.model, self.dtype))) if self.model else self.kind

    def in_words(self) -> str:
        """For a person, as "cuda: NVIDIA H100 80GB HBM3, 80 GB, compute capability 9.0, float16"."""
        memory = f"{self.memory / 1e9:.0f} GB" if self.memory else ""
        capability = f"compute capability {self.capability}" if self.capability else ""
        more = ", ".join(filter(None, (self.model, memory, capability, self.dtype)))
        return f"{self.name}: {more}" if more else self.name


CPU = Device("cpu")


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


def chosen(asked: str | None) -> str:
    """The device of that name; for None CUDA's where torch has one, else the CPU. Raises UserError where it is not
    there."""
    import torch

    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    check_present(asked)
    return asked


def described(name: str, dtype: str = "") -> Device:
    """What torch says of a device that is there."""
    import torch

    if not name.startswith("cuda"):
        return Device(name, dtype=dtype)
    found = torch.cuda.get_device_properties(torch.device(name))
    return Device(name, found.name, found.total_memory, f"{found.major}.{found.minor}", dtype)


def likely(asked: str | None) -> Device:
    """The device that torch will most likely choose, guessed without loading it."""
    return Device(asked or ("cuda" if any(each.exists() for each in DRIVERS) else "cpu"))


def driverless(device: Device) -> bool:
    """Whether it is CUDA's, on a machine where no driver's file was found."""
    return device.kind == "cuda" and not any(each.exists() for each in DRIVERS)


def cards() -> tuple[str, list[str]]:
    """(the variable by which a process is shown some of CUDA's devices alone, what it names each that this one has)."""
    import torch

    variable, count = "HIP_VISIBLE_DEVICES" if torch.version.hip else "CUDA_VISIBLE_DEVICES", torch.cuda.device_count()
    named = os.environ.get(variable) or os.environ.get("CUDA_VISIBLE_DEVICES") or ""
    return variable, [each.strip() for each in named.split(",") if each.strip()][:count] or list(map(str, range(count)))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(workers: int) -> None:
    """Leaves this process its share of the host's cores, where so many workers have it. Torch has read its variable by
    the time a worker begins."""
    import torch

    share = max(1, cores() // workers)
    os.environ["OMP_NUM_THREADS"] = str(share)
    torch.set_num_threads(share)
