"""Files of strangers: `python benchmarks/hostile.py` damages thousands and reads each as the commands do.

Each has to be read or refused with a `UserError`, within 5 seconds of processor time and 1 GB. Prints the counts by
kind and what failed, and ends with exit code 1 where something did; --seed, --kind and --only N make a case again.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.hostile_files import KINDS, Read
from configs import UserError

GB = 2**30


class TooSlow(BaseException):
    """Beyond what a reader catches."""


@dataclass
class Counts:
    """Of one kind. slowest: seconds of processor time."""

    ends: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


def main(
    cases: Annotated[int, typer.Option(min=1, help="Files of each kind.")] = 1200,
    seed: Annotated[int, typer.Option(help="Of the damage.")] = 0,
    kind: Annotated[list[str] | None, typer.Option(help="One kind; several times (default: all).")] = None,
    only: Annotated[int | None, typer.Option(help="This case alone, with its traceback.")] = None,
    seconds: Annotated[float, typer.Option(help="Of processor time that a file may take.")] = 5,
) -> None:
    """Damage files and read them."""
    found = {name: Counts() for name in kind or KINDS}
    for name, counts in found.items():
        for number in range(cases) if only is None else [only]:
            with tempfile.TemporaryDirectory() as place:
                read = KINDS[name](Path(place), Random(f"{seed} {name} {number}"))
                end, why, took = _end(read, seconds)
            counts.ends[end] += 1
            counts.slowest = max(counts.slowest, took)
            if end == "failed":
                counts.failures.append(f"{name} {number}: {why.strip().splitlines()[-1][:300]}")
                if only is not None:
                    print(why)
    print(f"{'':12}{'cases':>8}{'read':>8}{'refused':>9}{'failed':>8}{'slowest':>10}")
    for name, counts in found.items():
        ends = counts.ends
        print(f"{name:12}{ends.total():8}{ends['read']:8}{ends['refused']:9}{ends['failed']:8}{counts.slowest:8.2f} s")
    print(f"{'all':12}{sum(counts.ends.total() for counts in found.values()):8}")
    failures = [line for counts in found.values() for line in counts.failures]
    print("\n".join(failures[:40]))
    raise SystemExit(bool(failures))


def _end(read: Read, seconds: float) -> tuple[str, str, float]:
    """How reading ended ("read", "refused", "failed"), why, and its seconds of processor time."""
    before, began = _memory(), time.process_time()
    try:
        with _limited(seconds), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            read()
        end, why = "read", ""
    except UserError as error:
        long = len(str(error)) > 3000
        end, why = (
            ("failed", f"a message of {len(str(error)):,} characters: {str(error)[:100]}") if long else ("refused", "")
        )
    except (Exception, TooSlow) as error:
        end, why = "failed", "".join(traceback.format_exception(error))
    if (more := _memory() - before) > GB:
        end, why = "failed", f"{more / GB:.1f} GB"
    return end, why, time.process_time() - began


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlow(f"more than {seconds} s")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _memory() -> int:
    """The most that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    typer.run(main)
