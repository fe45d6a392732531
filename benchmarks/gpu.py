"""Everything that a new card has to be asked, in one command: `python benchmarks/gpu.py`, ten minutes on one H100.

Prints after each part, and writes a Markdown table (docs/speed.md has room for it). Parts: what is installed and how
fast matrices are multiplied; the skip filter; FreeU on whole U-Nets, eager and compiled; a trial with guardrails beside
the naive loop in its best batch; where the time goes; whether images agree with the CPU's and between batch sizes; the
batch size that is chosen beside the best. Without a card it runs what a CPU can do and says what it could not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import typer

from benchmarks import gpu_parts
from configs import devices

PARTS: dict[str, Callable[[gpu_parts.Bench], Iterator[gpu_parts.Row]]] = {
    "installed": gpu_parts.installed,
    "filter": gpu_parts.filtered,
    "U-Net": gpu_parts.unets,
    "trial": gpu_parts.trials,
    "agreement": gpu_parts.agreement,
    "batch sizes": gpu_parts.batch_sizes,
    "compiled": gpu_parts.compiled,
}


def measured(bench: gpu_parts.Bench, name: str) -> Iterator[gpu_parts.Row]:
    """A part's rows; the last says what could not be measured, and why."""
    try:
        rows = PARTS[name](bench)
        while time.monotonic() <= bench.deadline:
            if (row := next(rows, None)) is None:
                return
            yield row
        yield f"{name}: not measured", "the time is up (--minutes)"
    except gpu_parts.Unmeasured as reason:
        yield f"{name}: not measured", str(reason)
    except Exception as error:  # whatever it is, the other parts can still be told
        yield f"{name}: failed", gpu_parts.said(error)


def main(
    device: Annotated[str | None, typer.Option(help="cuda, cuda:1, cpu [cuda where there is one].")] = None,
    quick: Annotated[bool, typer.Option(help="Toy sizes.")] = False,
    only: Annotated[str, typer.Option(metavar="A,B", help=f"Parts, of {', '.join(PARTS)}.")] = "",
    minutes: Annotated[float, typer.Option(help="Nothing more is measured after so many.")] = 9,
    out: Annotated[Path, typer.Option(help="The Markdown table.")] = Path("gpu.md"),
) -> None:
    """Run the parts, print each as it ends, and write the table."""
    place = torch.device(devices.chosen(device))
    quick = quick or place.type == "cpu"
    dtype = torch.float32 if place.type == "cpu" else torch.float16
    if quick:
        print("toy sizes: their times say nothing about a card")
    if place.type == "cuda":
        torch.cuda.set_device(place.index or 0)  # streams and graphs are the current device's
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = gpu_parts.Bench(place, quick, dtype, Path(folder), began + 60 * minutes)
        for name in filter(None, only.split(",")) if only else PARTS:
            for label, value in measured(bench, name):
                bench.rows.append((label, value))
                print(f"{label:60} {value}", flush=True)
            lines = ["| what | measured |", "| --- | --- |", *(f"| {label} | {value} |" for label, value in bench.rows)]
            out.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{time.monotonic() - began:.0f} s; the table is in {out}")


if __name__ == "__main__":
    typer.run(main)
