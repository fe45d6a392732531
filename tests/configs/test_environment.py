"""What commands ask of their libraries: set before these are imported, and never against what somebody said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASK = "import os, search; print(os.environ['OMP_WAIT_POLICY'], os.environ['DO_NOT_TRACK'])"


def test_threads_sleep_while_they_wait_unless_somebody_said_otherwise() -> None:
    for said, wanted in (({}, "PASSIVE 1"), ({"OMP_WAIT_POLICY": "ACTIVE", "DO_NOT_TRACK": "0"}, "ACTIVE 0")):
        inherited = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "DO_NOT_TRACK")}
        done = subprocess.run(
            [sys.executable, "-c", ASK], env=inherited | said, cwd=ROOT, capture_output=True, text=True
        )
        assert done.stdout.strip() == wanted, done.stderr
