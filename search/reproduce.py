"""What it takes to get a study's numbers again: the command, the versions of what computed them, and hashes."""

from __future__ import annotations

import platform
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import path, read_yaml
from search.config import FLAGS

PACKAGES = ("freeu-search", "torch", "diffusers", "transformers", "open_clip_torch", "torchmetrics", "optuna", "numpy")
ELSEWHERE = ("mlruns", "tracking_uri", "storage", "ray", "workers", "minutes", "gpu_hours", "trials", "study", "model")
"""Settings that say where and how long, or that the command has in another form."""


def versions() -> dict[str, str]:
    """Of Python and the packages that images and scores depend on; what is not installed is left out."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def revision() -> str | None:
    """The git commit of this source tree, "+" behind it where files differ; None where it isn't one."""
    root = Path(__file__).parents[1]
    git = ("git", "-C", str(root))
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    ours = head.returncode == 0 and (root / ".git").exists()
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") if ours else None


def command(study: str, settings: Mapping[str, Any], trials: int) -> str:
    """The line for a shell that begins such a study. settings: of config.yaml; trials: how many were complete.

    A study that was ended by the clock is begun by its number of trials, which doesn't depend on the machine.
    """
    usual = read_yaml(path("studies", "default.yaml"))
    words = ["python", "-m", "search.run", "--study", f"{study}-again", "--trials", str(trials)]
    words += ["--model", str(settings.get("model_given") or settings.get("model") or usual["model"])]
    for key, value in settings.items():
        if key in ELSEWHERE or key not in usual or value is None or value == usual[key]:
            continue
        flag = "--" + FLAGS.get(key, key).replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif key == "objectives":
            words += [flag, ",".join(map(str, value))]
        else:
            for each in value if isinstance(value, list) else [value]:
                words += [flag, str(each)]
    return shlex.join(words)


def hashes(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """Name → digest, of what config.yaml's fingerprint holds. Equal digests: the same weights, prompts, scorers."""
    from search.config import stamp

    names = {
        "weights": "weights",
        "prompt_texts": "prompts of the search",
        "held_out_texts": "held-out prompts",
        "scorers": "objectives and reference",
    }
    found = {said: str(fingerprint[key]) for key, said in names.items() if fingerprint.get(key)}
    return {"fingerprint": stamp(fingerprint), **found}
