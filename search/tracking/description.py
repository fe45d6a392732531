"""Describes a study to MLflow, once at its start: settings, fingerprint, tags, inputs."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.settings import fingerprints
from search.settings.kept import kept_settings
from search.study import reproduce
from search.tracking.inputs import Input

if TYPE_CHECKING:
    from search.optimizer.space import Space
    from search.settings.job import Job


@dataclass(frozen=True)
class Description:
    """config: the study's settings; resolved: what they come to, for the study's run and each trial's; fingerprint: its
    short name; inputs: what it reads."""

    config: Mapping[str, Any]
    resolved: Mapping[str, str]
    fingerprint: str
    tags: Mapping[str, str]
    inputs: Sequence[Input]
    directions: Mapping[str, str]
    space: Space


def describe(job: Job, fingerprint: Mapping[str, Any], identity: str) -> Description:
    """Of a study that begins or goes on. identity: of the model's weights."""
    config = {key: value for key, value in kept_settings(job).items() if key != "mlruns"}  # a folder that may be moved
    tags = {
        "freeu.model_identity": identity,
        **{f"version.{name}": version for name, version in reproduce.versions().items()},
        "mlflow.source.name": "search.run",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": getpass.getuser(),
    }
    if (commit := reproduce.revision()) is not None:
        tags["mlflow.source.git.commit"] = commit
    stamp, inputs = fingerprints.stamp(fingerprint), _inputs(job, identity)
    return Description(config, resolved(job), stamp, tags, inputs, job.directions, job.space)


def resolved(job: Job) -> dict[str, str]:
    """What makes a study's images: the model's own values where none are set. n: prompts of a whole evaluation."""
    spec = job.spec
    found = {
        "model": spec.name,
        "kind": spec.kind,
        "steps": job.steps,
        "guidance": job.guidance,
        "scheduler": spec.sampling.scheduler,
        "size": ", ".join(f"{width}x{height}" for width, height in spec.sizes or [spec.image_size[::-1]]),
        "frames": spec.frames if spec.frames > 1 else None,
        "prompts": Path(job.prompt_set).name,
        "n": len(job.prompts),
        "n_held_out": len(job.held_out),
        "device": job.device.name,
        "gpu": job.device.model or None,
        "gpu_memory": job.device.memory or None,
        "gpu_capability": job.device.capability or None,
        "dtype": job.device.dtype or job.config.dtype,
    }
    return {key: str(value) for key, value in found.items() if value is not None}


def _inputs(job: Job, identity: str) -> list[Input]:
    """What the study reads: the base model, both halves of the prompt set, the reference where there is one."""
    spec, of, chosen = job.spec, job.fingerprint, job.prompt_set
    source = f"{spec.source}@{spec.revision}" if spec.revision else str(spec.source)
    facts: dict[str, Any] = {"kind": spec.kind, "resolution": spec.resolution, "steps": job.steps}
    facts |= {"guidance": job.guidance, "scheduler": spec.sampling.scheduler, **of["sampling"]}
    found = [
        Input("base model", spec.name, identity or "unknown", source, facts),
        Input("prompts", chosen, of["prompt_texts"], chosen, {"prompts": len(job.prompts)}),
        Input("held-out prompts", chosen, of["held_out_texts"], chosen, {"prompts": len(job.held_out)}),
    ]
    if spec.reference:
        told = json.dumps(spec.reference, sort_keys=True, default=str)
        found.append(Input("reference", f"reference of {spec.name}", fingerprints.digest(told), told))
    return found
