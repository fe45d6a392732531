"""Asking the model hub without a long wait: its own client tries for a minute before it gives up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from configs import UserError

SECONDS_TO_ANSWER = 6


def why_not(repository: str, kind: str = "model") -> str | None:
    """What keeps `repository` from being read: None where it is in the hub's cache, or the hub answers.

    Args:
        kind: "model" or "dataset".
    """
    from huggingface_hub import HfApi, snapshot_download

    try:
        HfApi().repo_info(repository, repo_type=kind, timeout=SECONDS_TO_ANSWER)
    except Exception as error:  # offline, refused, gone: each with its own class
        said = f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
    else:
        return None
    try:
        snapshot_download(repository, repo_type=kind, local_files_only=True)
    except Exception:  # not there, or a name that the hub refuses
        return f"tried the hub's cache, where it isn't, and the hub ({said})"
    return None


def weights_file(given: str | Mapping[str, str], models: Path) -> Path:
    """A file on this disk, or one of a repository on the hub."""
    if isinstance(given, str):
        file = models / Path(given).expanduser()
        if not file.is_file():
            raise UserError(f"the weights {file} are no file")
        return file
    from huggingface_hub import hf_hub_download

    repository, name = given["repository"], given["file"]
    try:
        return Path(hf_hub_download(repository, name, local_files_only=True))
    except OSError:  # not in the cache
        pass
    if why := why_not(repository):
        raise UserError(f"{name} of {repository} can't be had: {why}; or name a copy of your own in the model's YAML")
    return Path(hf_hub_download(repository, name))
