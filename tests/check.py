"""Every check of the project, in one command: `uv run --extra dev python -m tests.check`.

All checks run, whatever the first ones say; the exit code is 1 where any failed. The tests come last.
Arguments are handed to pytest, as in `python -m tests.check -k filter`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
BIN = Path(PYTHON).parent  # not resolved: in a virtual environment this is a link, and the tools stand beside it
CHECKS = {
    "format": [PYTHON, "-m", "ruff", "format", "--check", "."],
    "lint": [PYTHON, "-m", "ruff", "check", "."],
    "types": [PYTHON, "-m", "mypy"],
    "imports": [str(BIN / "lint-imports")],
    "tests and docs": [PYTHON, "-m", "pytest", "-q", "-n", "auto", "--dist", "loadfile"],
}


def main() -> int:
    failed = []
    for name, command in CHECKS.items():
        print(f"== {name}", flush=True)
        began = time.monotonic()
        extra = sys.argv[1:] if command[2:3] == ["pytest"] else []
        # As many test processes as cores, so one thread each.
        if subprocess.run(command + extra, cwd=ROOT, env={"OMP_NUM_THREADS": "1", **os.environ}).returncode != 0:
            failed.append(name)
        print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
