"""A study's settings as config.yaml and MLflow keep them: with the fingerprint, without passwords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from configs import UserError
from search.settings import fingerprints
from search.storage import StudyFolder
from search.storage.addresses import hidden
from search.storage.files import replacing

if TYPE_CHECKING:
    from search.settings.config import StudyConfig
    from search.settings.job import Job


def kept_fingerprint(folder: StudyFolder) -> Mapping[str, Any]:
    """The fingerprint that a study was begun with. Raises UserError."""
    kept: Mapping[str, Any] = folder.read_settings()["fingerprint"]
    if not kept:
        raise UserError(f"{folder.config} has no fingerprint: it is not a study's; give another name with --study")
    return kept


def check_resumable(job: Job) -> None:
    """Raises UserError where the study was begun with other settings, or is kept elsewhere."""
    if not job.folder.config.exists() and any(job.folder.root.glob("trials/*.json")):
        raise UserError(
            f"{job.folder.root} has trials and no config.yaml, so nobody knows how they were made: restore the "
            "file, or give another name with --study"
        )
    if job.folder.config.exists():
        fingerprints.check_same(job.config.name, kept_fingerprint(job.folder), job.fingerprint)
        _check_storage(job.config, job.folder)


def seal(job: Job, fingerprint: Mapping[str, Any]) -> None:
    """Write a study's config.yaml. Raises UserError if the study was begun with another fingerprint."""
    import yaml

    if job.folder.config.exists():
        fingerprints.check_same(job.config.name, kept_fingerprint(job.folder), fingerprint)
    kept = kept_settings(job) | {"fingerprint": dict(fingerprint)}
    with replacing(job.folder.config) as temporary:
        temporary.write_text(yaml.safe_dump(kept, sort_keys=False), "utf-8")


def kept_settings(job: Job) -> dict[str, Any]:
    """The settings to keep and log, without passwords."""
    kept = job.config.model_dump(mode="json")
    storage, uri = job.config.storage, job.config.tracking_uri
    given = {} if job.config.model == job.spec.name else {"model_given": job.config.model}
    return kept | {
        **given,
        "model": job.spec.name,
        "device": job.device.name,
        "servers": [hidden(each) for each in job.config.servers],
        "storage": None if storage is None else hidden(storage),
        "tracking_uri": None if uri is None else hidden(uri),
    }


def _check_storage(config: StudyConfig, folder: StudyFolder) -> None:
    """Raises UserError where a study that is on a server would be begun anew in its folder, or the other way round."""
    kept = folder.read_settings().get("storage")
    if kept is not None and config.storage is None:
        raise UserError(
            f"study '{config.name}' is on the server {kept}: give it with --storage, or another name with --study"
        )
    if kept is None and config.storage is not None:
        raise UserError(
            f"study '{config.name}' is kept in its folder: leave out --storage, or give another name with --study"
        )
