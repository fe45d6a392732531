"""Which of a metric's weights are on this machine: asks the caches alone, nobody else, and loads none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .aesthetic import LAION_REPOSITORY

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
"""torch-fidelity's file in torch's cache."""


def missing(settings: Mapping[str, Any]) -> list[str]:
    """What a metric reads and this machine has not: repositories of the hub, or files. settings: its part of
    scorers.yaml."""
    return [name for name, here in _read(settings) if not here]


def _read(settings: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    kind = settings.get("kind")
    if kind == "open_clip" and "pretrained" in settings:
        from open_clip import get_pretrained_cfg

        known = get_pretrained_cfg(settings["model"], settings["pretrained"])
        yield _repository("/".join(known.get("hf_hub", "").split("/")[:2]) or settings["model"])
    elif kind in ("laion_v1", "laion_v2") and not settings.get("file"):
        yield _repository(LAION_REPOSITORY)
    elif kind == "inception" and "weights" not in settings:
        import torch

        yield f"torch-fidelity's {INCEPTION}", Path(torch.hub.get_dir(), "checkpoints", INCEPTION).is_file()
    elif "source" in settings:
        yield _repository(settings["source"])
    if "repository" in settings:
        yield _repository(settings["repository"])
    for value in settings.values():
        if isinstance(value, Mapping):
            yield from _read(value)


def _repository(name: str) -> tuple[str, bool]:
    """A repository of the hub, and whether any of it is in the hub's cache; or a folder of this disk."""
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}", "snapshots")
    return name, Path(name).exists() or (snapshots.is_dir() and any(snapshots.iterdir()))
