"""Our skip filter against diffusers' FFT: `python benchmarks/filter.py`, a minute on two cores, or on a GPU.

Both filter the skip features of a model's stages 1 and 2, in turn and several times over in one run; what counts is the
ratio of medians. On a GPU the third column is a plain copy of the same bytes, which no filter can beat. The last column
says that both computed the same: the largest difference in units of rounding, of values round 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import typer
from diffusers.utils.torch_utils import fourier_filter
from rich.console import Console
from rich.table import Table

from benchmarks.timing import interleaved
from freeu.filter import skip_filter_

# Samples (two under guidance, times frames), channels, side of the map: the decoder's concatenations of each width.
SHAPES = {
    "SD 1.5 at 512": [(2, 1280, 8), (2, 1280, 16), (2, 640, 16), (2, 640, 32), (2, 320, 32)],
    "SDXL at 1024": [(2, 1280, 32), (2, 640, 32), (2, 640, 64), (2, 320, 64)],
    "ModelScope, 16 frames at 256": [(32, 1280, 4), (32, 1280, 8), (32, 640, 8), (32, 640, 16), (32, 320, 16)],
}


def main(
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cuda" if torch.cuda.is_available() else "cpu",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each is run, in turn.")] = 15,
    shrink: Annotated[int, typer.Option(min=1, help="Divides the channels; for a quick look.")] = 1,
) -> None:
    """Time both on every shape, in float32 on a CPU and bfloat16 on a GPU."""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    table = Table("model", "skip", "diffusers", "ours", "copy", "faster", "over copy", "difference", box=None)
    ratios, over = [], []
    with torch.inference_mode():
        for model, shapes in SHAPES.items():
            for samples, channels, side in shapes:
                x = torch.randn(samples, channels // shrink, side, side, device=device).to(dtype)
                ours, theirs, copy = measured(x, rounds)
                difference = (skip_filter_(x.clone(), 0.2, 1, 1.0, False) - fourier_filter(x, 1, 0.2)).abs().max()
                ratios.append(theirs / ours)
                over.append(ours / copy)
                cells = [f"{1e3 * seconds:.3f} ms" for seconds in (theirs, ours, copy)]
                rounding = f"{float(difference) / torch.finfo(dtype).eps:.1f} eps"
                name = "×".join(map(str, x.shape))
                table.add_row(model, name, *cells, f"{ratios[-1]:.1f}×", f"{over[-1]:.1f}×", rounding)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(
        f"{device}, {str(dtype).removeprefix('torch.')}, torch {torch.__version__}: {geometric_mean(ratios):.1f} times "
        f"as fast as diffusers (geometric mean), {geometric_mean(over):.1f} times a copy",
        soft_wrap=True,
    )


def measured(x: torch.Tensor, rounds: int) -> list[float]:
    """Seconds of ours, diffusers' and a copy; ours in place, as in a U-Net, on features that stay as they are large."""
    work = x.clone()
    runs: list[Callable[[], object]] = [
        lambda: skip_filter_(work, 0.999, 1, 1.0, False),
        lambda: fourier_filter(x, threshold=1, scale=0.2),
        lambda: work.copy_(x),
    ]
    return interleaved(runs, rounds, x.device)


if __name__ == "__main__":
    typer.run(main)
