"""The settings as a study keeps them, in its config.yaml and in MLflow: with its fingerprint, without a password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from search.settings import fingerprints
from search.settings.job import kept_fingerprint
from search.storage.addresses import hidden
from search.storage.files import replacing

if TYPE_CHECKING:
    from search.settings.job import Job


def seal(job: Job, fingerprint: Mapping[str, Any]) -> None:
    """Write the study's settings and its fingerprint. Raises UserError where it was begun with another."""
    import yaml

    if job.folder.config.exists():
        fingerprints.check_same(job.config.name, kept_fingerprint(job.folder), fingerprint)
    kept = kept_settings(job) | {"fingerprint": dict(fingerprint)}
    with replacing(job.folder.config) as temporary:
        temporary.write_text(yaml.safe_dump(kept, sort_keys=False), "utf-8")


def kept_settings(job: Job) -> dict[str, Any]:
    """The settings as they are kept and logged: without a password."""
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
