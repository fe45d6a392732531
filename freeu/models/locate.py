"""Finds the folder of a pipeline: a folder on disk, then the hub's cache, then the hub itself.

The hub is asked one short question before anything is downloaded: where it can't be reached, that is said in
seconds.
"""

from __future__ import annotations

import threading
from pathlib import Path

from configs import UserError

from .identity import files
from .spec import HUB_ID, ModelSpec

ASK_SECONDS, GIVE_UP_SECONDS = 5.0, 10.0
"""For the answer of the hub, and for everything before it (a dead name server has limits of its own)."""


def locate(spec: ModelSpec) -> Path:
    """The folder with all that the pipeline needs; downloads it where it must.

    Raises:
        UserError: it can't be had; names each place that was tried, why it failed there, and what to do.
    """
    if spec.folder.is_dir():
        return spec.folder
    if spec.hub_id is None:
        raise UserError(f"the weights of {spec.name} are not there: {spec.folder} is no folder")
    tried = [f"the folder {spec.folder}: not there"]
    cached = _cached(spec, spec.hub_id, tried)
    return cached if cached is not None else _download(spec, spec.hub_id, tried)


def locate_config(spec: ModelSpec) -> Path:
    """The folder that says how a single-file checkpoint's pipeline is laid out.

    Raises:
        UserError: it can't be had; says what was tried and what to do.
    """
    wanted = str(spec.config)
    folder = spec.base / wanted
    if (folder / "model_index.json").is_file():
        return folder
    try:
        return hub_layout(wanted)
    except UserError as error:
        raise UserError(
            f"{spec.source} is one file, and how its pipeline is laid out can't be had: {folder} is no pipeline's "
            f"folder, and {error}. Give --pipeline-config FOLDER: any diffusers folder of the same architecture, of "
            "which the weights are not read"
        ) from error


def hub_layout(repo: str) -> Path:
    """A folder with the JSON and tokenizer files of a pipeline on the hub, and none of its weights.

    Raises:
        UserError: neither the hub's cache nor the hub has it.
    """
    if not HUB_ID.fullmatch(repo):
        raise UserError(f"{repo} is no hub id")
    import huggingface_hub

    small = ["*.json", "*.txt"]
    try:
        found = Path(huggingface_hub.snapshot_download(repo, allow_patterns=small, local_files_only=True))
        if (found / "tokenizer").is_dir():
            return found
    except Exception:  # not in the cache
        pass
    reason = _unreachable(repo, None)
    try:
        if reason is None:
            return Path(huggingface_hub.snapshot_download(repo, allow_patterns=small))
    except Exception as error:  # as in _download
        reason = _short(error)
    raise UserError(f"{repo} is neither in the hub's cache nor to be got from the hub ({reason})")


def cached(spec: ModelSpec) -> Path | None:
    """The pipeline's folder in the hub's cache, where all of it is there; asks nobody."""
    return _cached(spec, spec.hub_id, []) if spec.hub_id is not None else None


def _cached(spec: ModelSpec, repo: str, tried: list[str]) -> Path | None:
    from huggingface_hub import constants, try_to_load_from_cache

    index = try_to_load_from_cache(repo, "model_index.json", revision=spec.revision)
    where = f"the hub's cache {constants.HF_HUB_CACHE}"
    if not isinstance(index, str):
        tried.append(f"{where}: not there")
        return None
    try:
        files(Path(index).parent, spec.variant)
    except UserError as error:
        tried.append(f"{where}: {error}")
        return None
    return Path(index).parent


def _download(spec: ModelSpec, repo: str, tried: list[str]) -> Path:
    from huggingface_hub import constants

    hub = f"the hub {constants.ENDPOINT}"
    reason = _unreachable(repo, spec.revision)
    if reason is None:
        from diffusers import DiffusionPipeline

        try:
            return Path(
                DiffusionPipeline.download(
                    repo,
                    revision=spec.revision,
                    variant=spec.variant,
                    safety_checker=None,
                    image_encoder=None,
                )
            )
        except Exception as error:  # the hub's client raises a dozen unrelated kinds
            reason = _short(error)
    raise UserError(
        f"can't get the weights of {spec.name} ({repo}). Tried:\n"
        + "".join(f"  - {line}\n" for line in [*tried, f"{hub}: {reason}"])
        + "What to do: connect this machine to the internet (or set HF_ENDPOINT to a mirror, or log in with "
        f"`hf auth login` if the hub asks for it); or run `hf download {repo} --local-dir FOLDER` elsewhere, "
        "copy the folder here, and give --model FOLDER."
    )


def _unreachable(repo: str, revision: str | None) -> str | None:
    """Why the hub can't serve `repo`; None if it can. Answers within GIVE_UP_SECONDS."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    answer: list[str | None] = []

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(repo, "model_index.json", revision=revision), timeout=ASK_SECONDS)
            answer.append(None)
        except Exception as error:  # as in _download
            answer.append(_short(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(GIVE_UP_SECONDS)
    return answer[0] if answer else f"no answer within {GIVE_UP_SECONDS:g} s"


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
