"""The libraries of a command report nothing to anyone: what asks them to keep quiet, where nobody said otherwise.

onnxruntime reports each session to its makers (its Privacy.md), Hugging Face's client what is downloaded with what.
"""

from __future__ import annotations

import os

ASKED = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def keep_quiet() -> None:
    """Set it for this process and those that it begins; before such a library is imported."""
    for name, value in ASKED.items():
        os.environ.setdefault(name, value)
