"""Asking the model hub without a long wait: its own client tries for a minute before it gives up."""

from __future__ import annotations

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
