"""Where a base model's weights lie on this machine: a folder, the hub's cache, or fetched from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from configs import UserError, identity

if TYPE_CHECKING:
    from .spec import ModelSpec

SECONDS_TO_ANSWER = 6
FILES = ["*.json", "*.txt", "*.safetensors"]


def find_weights(spec: ModelSpec) -> tuple[str, str]:
    """(folder, identity) of the spec's weights; a hub's snapshot is named by its commit, a folder by its content.

    Raises:
        UserError: they are not on this machine and the hub can't be reached; says what was tried.
    """
    if spec.folder is not None:
        return str(spec.folder), identity(spec.folder)
    if Path(spec.source).is_absolute() or spec.source.count("/") != 1:
        raise UserError(
            f"model '{spec.name}': its weights should be in {spec.source}, where there is no folder"
        )
    folder = _cached(spec) or _fetched(spec)
    return str(folder), f"{spec.source}@{folder.name}"


def _wanted(spec: ModelSpec) -> list[str]:
    return [f"*.{spec.variant}.safetensors", "*.json", "*.txt"] if spec.variant else FILES


def _cached(spec: ModelSpec) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                spec.source, revision=spec.revision, allow_patterns=_wanted(spec), local_files_only=True
            )
        )
    except LocalEntryNotFoundError:
        return None
    return folder if (folder / "model_index.json").exists() else None


def _fetched(spec: ModelSpec) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download

    try:
        # One short question first: a download would try a network that isn't there for minutes.
        HfApi().model_info(spec.source, revision=spec.revision, timeout=SECONDS_TO_ANSWER)
        return Path(snapshot_download(spec.source, revision=spec.revision, allow_patterns=_wanted(spec)))
    except Exception as error:  # offline mode, no network, refused, gated, gone: each with its own class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"model '{spec.name}': the weights of {spec.source} can't be had.\n"
            f"  tried the hub's cache ({constants.HF_HUB_CACHE}): not there\n"
            f"  tried the hub: {type(error).__name__}: {reason}\n"
            f"  what to do: run 'hf download {spec.source}' where there is a network and copy the cache, or give a "
            "folder in diffusers' format: --model FOLDER"
        ) from error
