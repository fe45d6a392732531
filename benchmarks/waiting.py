"""What threads cost that wait busily: `python benchmarks/waiting.py`, six minutes on two cores.

The same small study on the embedded model, in turn with OpenMP's threads as they are unasked, which wait busily for a
while before they sleep (GNU's spin 300,000 times), and asked to sleep at once, as our commands ask them. Printed are
the seconds of an image, generating and scoring. With --beside N so many other processes keep a core each busy.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import typer

from search.storage import StudyFolder

ROOT = Path(__file__).parent.parent
POLICIES = {"busily": "", "asleep": "PASSIVE"}
"""The empty one is none to OpenMP, which says so, and keeps our commands from asking."""


def seconds(policy: str, trials: int) -> float:
    """Of an image, in a study of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "search.run", "--study", "it", "--mlruns", folder, "--no-cache", "--quiet"]
        command += ["--trials", str(trials), "--held-out", "16", "--judges", "none"]
        environment = {**os.environ, "OMP_WAIT_POLICY": policy}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        records = StudyFolder(Path(folder), "it").read_trials()
    return sum(record.seconds["total"] for record in records) / sum(record.images for record in records)


def main(
    trials: Annotated[int, typer.Option(min=2, help="Of a study.")] = 14,
    rounds: Annotated[int, typer.Option(min=1, help="Studies either way.")] = 3,
    beside: Annotated[int, typer.Option(min=0, help="Busy processes beside it.")] = 0,
) -> None:
    """Run the studies, print what an image takes either way, and the ratio of the medians."""
    found: dict[str, list[float]] = {name: [] for name in POLICIES}
    with ExitStack() as stack:
        for _ in range(beside):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        for _ in range(rounds):
            for name, policy in POLICIES.items():
                found[name].append(seconds(policy, trials))
    for name, each in found.items():
        print(f"{name:<8} {median(each):.4f} s an image ({', '.join(f'{one:.4f}' for one in each)})")
    print(f"waiting busily takes {median(found['busily']) / median(found['asleep']):.2f} times as long")


if __name__ == "__main__":
    typer.run(main)
