"""A whole study in this process: what `python -m search.run` does, without the seconds of a fresh interpreter."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console


def study(**settings: Any) -> str:
    """Runs a study with these settings to its end; what it printed."""
    from search.session import run_study
    from search.settings.reading import load

    console = Console(file=io.StringIO(), width=200)
    run_study(load(None, settings), console)
    return console.file.getvalue()
