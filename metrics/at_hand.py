"""Which of a metric's weights are on this machine: asks the caches alone, nobody else, and loads none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from configs import path, read_yaml

LAION_REPOSITORY = "camenduru/improved-aesthetic-predictor"
INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
"""torch-fidelity's file in torch's cache."""


FILES = ("weights", "head", "instruction")
"""Keys that name a file of this disk, where they are no mapping."""


def missing(settings: Mapping[str, Any], models: Path = Path()) -> list[str]:
    """What a metric reads and this machine has not: repositories of the hub, or files. settings: its part of
    scorers.yaml. models: what relative paths are relative to."""
    return [name for name, here in read_by(settings, models) if not here]


def read_by(settings: Mapping[str, Any], models: Path = Path()) -> Iterator[tuple[str, bool]]:
    """What a metric reads, and whether that is on this machine."""
    kind = settings.get("kind")
    if kind == "open_clip" and "pretrained" in settings:
        yield _repository(_of_open_clip(settings["model"], settings["pretrained"]), models)
    elif kind in ("laion_v1", "laion_v2") and not settings.get("file"):
        yield _repository(LAION_REPOSITORY, models)
    elif kind == "inception" and "weights" not in settings:
        yield INCEPTION, (_torch_hub() / "checkpoints" / INCEPTION).is_file()
    elif kind == "hub_dataset":
        yield _repository(settings["dataset"], models, "datasets")
    for key in ("source", "repository", "tokenizer"):
        if isinstance(settings.get(key), str):
            yield _repository(settings[key].removeprefix("local-dir:"), models)
    for key in FILES:
        if isinstance(settings.get(key), str) and "{" not in settings[key]:  # an instruction may be the text itself
            yield settings[key], (models / Path(settings[key]).expanduser()).is_file()
    for value in settings.values():
        if isinstance(value, Mapping):
            yield from read_by(value, models)


def known_weights() -> dict[str, Any]:
    """configs/weights.yaml: by repository or file, `gb` and `licence`; under "open_clip", what its names stand for."""
    return read_yaml(path("weights.yaml"))


def _of_open_clip(model: str, pretrained: str) -> str:
    """The repository of a name that open_clip knows; importing it takes seconds, so those in use are written down."""
    if known := known_weights()["open_clip"].get(f"{model} {pretrained}"):
        return str(known)
    from open_clip import get_pretrained_cfg

    return "/".join(get_pretrained_cfg(model, pretrained).get("hf_hub", "").split("/")[:2]) or model


def _torch_hub() -> Path:
    """`torch.hub.get_dir()`, without torch."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch")
    return Path(home).expanduser() / "hub"


def _repository(name: str, models: Path, kind: str = "models") -> tuple[str, bool]:
    """A repository of the hub, and whether any of it is in the hub's cache; or a folder of this disk."""
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE, f"{kind}--{name.replace('/', '--')}", "snapshots")
    return name, (models / name).exists() or (snapshots.is_dir() and any(snapshots.iterdir()))
