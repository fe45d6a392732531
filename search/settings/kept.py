"""A study's settings as config.yaml and MLflow keep them: with the fingerprint, without passwords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search.settings import fingerprints
from search.settings.job import kept_fingerprint
from search.storage.files import replacing
from search.storage.optuna_storage import hidden

if TYPE_CHECKING:
    from search.settings.job import Job


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
        "device": job.device,
        "storage": None if storage is None else hidden(storage),
        "tracking_uri": None if uri is None else hidden(uri),
    }
