"""What looking on costs: `python benchmarks/figures.py`, a plain run beside a recorded one, in memory and time.

On the embedded model, a whole run of a batch; or on a U-Net of Stable Diffusion's or SDXL's size with random weights,
one step of it under guidance. Each way has a process of its own, since a process's peak never falls.
"""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import typer

from benchmarks import fresh
from search.evaluation.peak_memory import Peak

WAYS = ("plain", "recorded")


def main(
    size: Annotated[str, typer.Option(help="shapes, or a U-Net alone: sd15, sdxl, toy.")] = "shapes",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    images: Annotated[int, typer.Option(min=1, help="Of the embedded model, all in one batch.")] = 16,
) -> None:
    """Print the peak of memory and the processor's time of both ways, and what recording adds."""
    found = {way: fresh.called(measured, way, size, device, images, device=device) for way in WAYS}
    for way, (before, peak, seconds) in found.items():
        print(f"{way:9s} peak {peak / 2**20:8.1f} MB, {before / 2**20:8.1f} MB of it before the run; {seconds:6.2f} s")
    (_, plain, _), (_, recorded, _) = (found[way] for way in WAYS)
    print(f"recording adds {100 * (recorded / plain - 1):+.1f} % to the peak")


def measured(way: str, size: str, device: str, images: int) -> tuple[int, int, float]:
    """Bytes before the run and at its peak, and seconds of the processor."""
    run, look = shapes(device, images) if size == "shapes" else unet(size, device)
    before = Peak().bytes()
    peak, began = Peak(), time.process_time()
    with look() if way == "recorded" else nullcontext():
        run()
    return before, peak.bytes(), time.process_time() - began


def shapes(device: str, images: int) -> tuple[Any, Any]:
    """A whole run of the embedded model."""
    from freeu import IDENTITY
    from freeu.figures import recorded
    from freeu.models import load_generator, load_spec

    generator: Any = load_generator(load_spec("shapes"), device=device, batch_size=images)
    prompts = [f"a small red circle above {number} blue squares" for number in range(images)]
    generator.prepare(prompts)

    def look() -> AbstractContextManager[Any]:
        return recorded(generator.unet, generator.timesteps, copies=generator.copies)

    return lambda: generator.generate(prompts, list(range(images)), IDENTITY), look


def unet(size: str, device: str) -> tuple[Any, Any]:
    """One step of a U-Net with random weights."""
    from benchmarks.unet import made
    from freeu.figures import recorded

    network, forward = made(size, device)
    return forward, lambda: recorded(network, [500], copies=2)


if __name__ == "__main__":
    typer.run(main)
