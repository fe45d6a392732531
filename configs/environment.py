"""What a command asks of its libraries by the environment, where nobody said otherwise.

To report nothing to anyone: onnxruntime reports each session to its makers (its Privacy.md), Hugging Face's client what
is downloaded with what. And that threads which wait for others sleep: OpenMP's wait busily, and beside other programs
that want the cores small work on two threads then takes several times as long (benchmarks/waiting.py).
"""

from __future__ import annotations

import os

ASKED = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
ASKED |= {"OMP_WAIT_POLICY": "PASSIVE"}


def ask_libraries() -> None:
    """Set it for this process and those that it begins; before such a library is imported."""
    for name, value in ASKED.items():
        os.environ.setdefault(name, value)
