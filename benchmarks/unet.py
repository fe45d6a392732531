"""What FreeU costs a whole U-Net: `python benchmarks/unet.py`, ten minutes on two cores, one on a GPU.

The U-Net has random weights and the true size, Stable Diffusion 1.5's on a CPU and SDXL's on a GPU. Off, ours (version
2 by width) and diffusers' enable_freeu take turns; what counts is the overhead over off, and the peak of memory.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import typer
from rich.console import Console
from rich.table import Table

import freeu
from benchmarks import fresh, sizes
from benchmarks.timing import timed

FACTORS = freeu.Factors(1.3, 1.4, 0.9, 0.2)


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cuda" if torch.cuda.is_available() else "cpu",
    size: Annotated[str, typer.Option(help="sd15, sdxl or toy; by default what suits the device.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is run, in turn.")] = 10,
) -> None:
    """Time the three on one U-Net, a batch of two (one image under guidance)."""
    size = size or ("sd15" if device == "cpu" else "sdxl")
    memory = {name: fresh.called(peak, name, size, device, device=device) for name in WAYS}
    unet, forward = made(size, device)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(-1, rounds):
        # The order changes from round to round, so that none always comes after the same other; the first warms up.
        for name in [*WAYS][turn % 3 :] + [*WAYS][: turn % 3]:
            WAYS[name](unet)
            took = timed(forward, 1, torch.device(device))
            if turn >= 0:
                seconds[name].append(took)
    report(f"{size}, {device}, torch {torch.__version__}", seconds, memory)


def made(size: str, device: str, dtype: torch.dtype | None = None, samples: int = 2) -> tuple[Any, Callable[[], None]]:
    """A U-Net, by default in float32 on a CPU and bfloat16 on a GPU, and what runs it once. samples: of its batch."""
    unet = sizes.unet(size, device).to(dtype or (torch.float32 if device == "cpu" else torch.bfloat16))
    return unet, forwards(unet, size, samples)


def forwards(unet: Any, size: str, samples: int) -> Callable[[], None]:
    """What runs a U-Net of the size once on a batch of so many."""
    side, like = sizes.SIDES[size], dict(device=unet.device, dtype=unet.dtype)
    sample = torch.randn(samples, 4, side, side, **like)
    words = torch.randn(samples, 77, sizes.UNETS[size]["cross_attention_dim"], **like)

    def forward() -> None:
        with torch.inference_mode():
            unet(sample, 500, words, return_dict=False)

    return forward


def peak(way: str, size: str, device: str) -> float:
    """Megabytes at the most, of the device or of the process; called in a process of its own."""
    unet, forward = made(size, device)
    WAYS[way](unet)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)  # it was made in float32
    forward()
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return torch.cuda.max_memory_allocated(device) / 2**20


def report(what: str, seconds: dict[str, list[float]], memory: dict[str, float]) -> None:
    """Overheads are medians over rounds of the ratio to off in the same round: what slows a round slows all three."""
    table = Table(what, "seconds", "over off", "peak memory", "over off", box=None)
    for name, found in seconds.items():
        ratios = torch.tensor(found) / torch.tensor(seconds["off"])
        over = [f"{100 * (value - 1):+.2f} %" for value in (float(ratios.median()), memory[name] / memory["off"])]
        table.add_row(name, f"{float(torch.tensor(found).median()):.4f}", over[0], f"{memory[name]:.0f} MB", over[1])
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def off(unet: Any) -> None:
    """The baseline."""
    freeu.disable(unet)
    unet.disable_freeu()


def ours(unet: Any) -> None:
    """Version 2 by width."""
    unet.disable_freeu()
    freeu.enable(unet, FACTORS)


def theirs(unet: Any) -> None:
    """diffusers', version 1 by block."""
    freeu.disable(unet)
    unet.enable_freeu(s1=FACTORS.s1, s2=FACTORS.s2, b1=FACTORS.b1, b2=FACTORS.b2)


WAYS: dict[str, Callable[[Any], None]] = {"off": off, "ours": ours, "diffusers": theirs}


if __name__ == "__main__":
    typer.run(main)
