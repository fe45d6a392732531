"""What a report costs: `python benchmarks/report.py` makes a study from random numbers, and measures its report.

The promise is 10 s, 1 GB and 15 MB for 64 prompts and 40 trials on two cores, also with held-out images of 1024 pixels
(--side 1024); with --noise 255 they don't compress at all. Printed too: what the study's held-out images take.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parent.parent
MAKE = """
import sys
from pathlib import Path
from tests.search import made
prompts, trials, side, noise = map(int, sys.argv[2:])
made.study(Path(sys.argv[1]), prompts=prompts, trials=trials, side=side, noise=noise)
"""
"""In a process of its own: the memory of a process's parent would count as its own."""


def main(
    prompts: Annotated[int, typer.Option(min=4, help="Prompts of a trial, and held out.")] = 64,
    trials: Annotated[int, typer.Option(min=3, help="Trials.")] = 40,
    side: Annotated[int, typer.Option(min=8, help="Pixels of an image's side.")] = 192,
    noise: Annotated[int, typer.Option(min=0, max=255, help="Grey levels of the images' noise.")] = 24,
) -> None:
    """Measure the command as it is started by a person."""
    with tempfile.TemporaryDirectory() as place:
        sizes = [str(number) for number in (prompts, trials, side, noise)]
        subprocess.run([sys.executable, "-c", MAKE, place, *sizes], check=True, cwd=ROOT)
        command = [sys.executable, "-m", "search.report", "--study", "sunday", "--mlruns", place]
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        if status:
            raise SystemExit(os.waitstatus_to_exitcode(status))
        size = Path(place, "studies", "sunday", "report.html").stat().st_size
        kept = sum(file.stat().st_size for file in Path(place, "studies", "sunday").glob("confirm/*/*.webp"))
        memory = used.ru_maxrss / 1e6  # kilobytes on Linux
        processor = used.ru_utime + used.ru_stime  # what a machine that is busy with other things doesn't lengthen
        print(
            f"{prompts} prompts, {trials} trials: {seconds:.1f} s ({processor:.1f} s of processor), "
            f"{memory:.2f} GB, {size / 1e6:.1f} MB; "
            f"held-out images {kept / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    typer.run(main)
