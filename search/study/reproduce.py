"""What is needed to reproduce a study's numbers: the command, package versions, and hashes."""

from __future__ import annotations

import platform
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.settings.config import FIELDS
from search.settings.setting import flag_of

PACKAGES = ("freeu-search", "torch", "diffusers", "transformers", "open_clip_torch", "torchmetrics", "optuna", "numpy")
ELSEWHERE = ("mlruns", "tracking_uri", "storage", "ray", "workers", "minutes", "gpu_hours", "trials", "study", "model")
"""Settings that say where and how long, or that the command has in another form."""
JOINED = {"objectives": ",", "judges": ",", "baseline_guidance": ","}
"""Settings of several values that one flag takes, and what stands between them."""


def versions() -> dict[str, str]:
    """Versions of Python and the packages that images and scores depend on, as far as they are installed."""
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
    root = Path(__file__).parents[2]
    git = ("git", "-C", str(root))
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    ours = head.returncode == 0 and (root / ".git").exists()
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") if ours else None


def command(study: str, settings: Mapping[str, Any], trials: int) -> str:
    """The shell command that runs the study again. settings: of config.yaml; trials: how many were complete.

    A study that was limited by time gets its number of trials instead, which doesn't depend on the machine.
    """
    words = ["uv", "run", "python", "-m", "search.run", "--study", f"{study}-again", "--trials", str(trials)]
    words += ["--model", str(settings.get("model_given") or settings.get("model") or FIELDS["model"].default)]
    for key, value in settings.items():
        if key in ELSEWHERE or key not in FIELDS or value is None or _usual(key, value):
            continue
        flag = flag_of(key, FIELDS[key])
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif key == "size":
            sizes = value if isinstance(value[0], list) else [value]  # one, as it was kept before there were several
            words += [word for sides in sizes for word in (flag, "x".join(map(str, sides)))]
        elif key in JOINED and isinstance(value, list):
            words += [flag, JOINED[key].join(map(str, value))]
        else:
            for each in value if isinstance(value, list) else [value]:
                words += [flag, str(each)]
    return shlex.join(words)


def _usual(key: str, value: Any) -> bool:
    """Whether a setting, as YAML has it, is its default."""
    default = FIELDS[key].default
    return bool((list(default) if isinstance(default, tuple) else default) == value)


def hashes(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """Name → digest, of what config.yaml's fingerprint holds. Equal digests: the same weights, prompts, scorers."""
    from search.settings.fingerprints import stamp

    names = {
        "weights": "weights",
        "prompt_texts": "prompts of the search",
        "held_out_texts": "held-out prompts",
        "scorers": "objectives and reference",
    }
    found = {said: str(fingerprint[key]) for key, said in names.items() if fingerprint.get(key)}
    return {"fingerprint": stamp(fingerprint), **found}
