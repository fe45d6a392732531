"""A study's settings: configs/studies/default.yaml, then the user's file, then flags; checked before anything loads."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from configs import UserError, path, quoted, read_yaml, unknown
from search import samplers
from search.storage import server

Positive = Annotated[int, Field(ge=1, strict=True)]
CHOICES = {
    "version": ("v1", "v2"),
    "stages": ("width", "block"),
    "dtype": ("float32", "float16", "bfloat16"),
}


class StudyConfig(BaseModel):
    """What a study is. None means: as the model's spec has it, or chosen for the device."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    loras: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    vae: str | None = None
    unet: str | None = None
    controlnet: str | None = None
    motion_adapter: str | None = None
    refiner: str | None = None
    input: str | None = None
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    frames: Positive | None = None
    every: Positive | None = None
    pipeline_config: str | None = None
    subject: Annotated[str, Field(min_length=1)] | None = None
    study: str | None = None
    trials: Positive
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    images: Positive | None = None
    gpu_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    patience: Positive | None = None
    prompts: str | None = None
    limit: Positive
    objectives: tuple[str, ...] | None = None
    reference: str | None = None
    guardrails: bool = True
    version: Literal["v1", "v2"]
    stages: Literal["width", "block"]
    sampler: str
    space: str | None = None
    start_from: tuple[str, ...] = ()
    racing: bool = True
    low_steps: Positive | None = None
    cache: bool = True
    workers: Positive = 1
    ray: str | None = None
    storage: str | None = None
    tracking_uri: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    steps: Positive | None = None
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    batch_size: Positive | None = None
    device: str | None = None
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    slicing: bool = False
    offload: bool = False
    compile: bool = False
    mlruns: Path

    @field_validator("objectives", mode="before")
    @classmethod
    def _listed(cls, found: Any) -> Any:
        if isinstance(found, str):
            found = [part for part in found.split(",") if part.strip()]
        if found is None:
            return None
        if not isinstance(found, list | tuple):
            raise ValueError("a list of names, as clip,aesthetic,fid, is expected")
        return tuple(part.strip() if isinstance(part, str) else part for part in found)

    @field_validator("mlruns", mode="after")
    @classmethod
    def _at_home(cls, found: Path) -> Path:
        return found.expanduser()

    @field_validator("loras", "embeddings", "start_from", mode="before")
    @classmethod
    def _one(cls, found: Any) -> Any:
        return (found,) if isinstance(found, str) else found

    @property
    def name(self) -> str:
        """The study's name: as given, else the model's."""
        place = Path(self.model.rpartition(":")[2]).expanduser().absolute()  # of package.module:function the function
        return self.study or place.name.removesuffix(".yaml")


FIELDS = tuple(StudyConfig.model_fields)
FLAGS = {"loras": "lora", "embeddings": "embedding", "start_from": "from"}
"""What settings that may be given several times are called as flags; in a YAML either name will do."""


def load(file: Path | None, flags: Mapping[str, Any]) -> StudyConfig:
    """The settings of a run. flags: those that were given (None: not given).

    Raises:
        UserError: an unreadable file, an unknown key (with the nearest known one), a value that can't be.
    """
    values = read_yaml(path("studies", "default.yaml"))
    if file is not None:
        found = read_yaml(file)
        keys = {flag: key for key, flag in FLAGS.items()}
        found = {keys.get(key, key): value for key, value in found.items()}
        for key in found:
            if key not in FIELDS:
                raise UserError(f"{file}: {unknown('key', str(key), FIELDS)}")
        values |= {key: value for key, value in found.items() if value is not None}
    values |= {key: value for key, value in flags.items() if value is not None}
    if values["tracking_uri"] is None:
        values["tracking_uri"] = os.environ.get("MLFLOW_TRACKING_URI") or None
    for name, known in CHOICES.items():
        if values[name] is not None and values[name] not in known:
            raise unknown(name, values[name], known)
    try:
        config = StudyConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        message = first["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        raise UserError(f"{_said(key, file, flags)} is {quoted(first['input'])}: {message}") from None
    return _checked(config)


def _said(key: str, file: Path | None, flags: Mapping[str, Any]) -> str:
    flagged = flags.get(key) is not None or file is None
    return "--" + key.replace("_", "-") if flagged else f"{file}: {key}"


def _checked(config: StudyConfig) -> StudyConfig:
    samplers.check(config.sampler)
    if config.storage is not None:
        server(config.storage)
    if config.objectives is not None:
        check_objectives(config.objectives)
    if config.low_steps is not None and not config.racing:
        raise UserError(f"--low-steps {config.low_steps} is for the first rung of a race: leave out --no-racing")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", config.name):
        raise UserError(
            f"--study '{config.name}': a study's name has letters, digits, '.', '_' and '-', and begins with a "
            "letter or digit; name it with --study"
        )
    if config.device is not None and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", config.device):
        raise unknown("device", config.device, ("cpu", "cuda", "cuda:0", "mps"))
    return config


def check_objectives(objectives: Sequence[str]) -> None:
    """Raises UserError where there are none, or one twice."""
    if not objectives:
        raise UserError("--objectives is empty: name at least one, as clip,aesthetic,fid")
    if len(set(objectives)) < len(objectives):
        raise UserError(f"--objectives {','.join(objectives)} names one twice")


def fingerprint(
    config: StudyConfig, spec: Any, space: Any, prompts: Sequence[str], held_out: Sequence[str]
) -> dict[str, Any]:
    """What must stay the same for a study to go on: all that its scores or candidates depend on.

    The number of trials, the time, the device and the batch size may change. spec: the model's ModelSpec.
    space: the study's Space.
    """
    read = {name: spec.scorers.get(name) for name in config.objectives or ()}
    scorers = json.dumps([read, spec.reference], sort_keys=True, default=str)
    return {
        "model": spec.name,
        "source": f"{spec.source}@{spec.revision}" if spec.revision else spec.source,
        "addons": [name for name in (spec.unet, spec.vae, *spec.loras, *spec.embeddings) if name],
        "kind": spec.kind,
        "parts": [name for name in (spec.controlnet, spec.motion_adapter, spec.refiner) if name],
        "input": [spec.input, digest(json.dumps(spec.inputs, sort_keys=True)), spec.strength, spec.frames, spec.every],
        "resolution": spec.resolution,
        "scheduler": _scheduler(spec),
        "steps": config.steps or spec.steps,
        "guidance": spec.guidance if config.guidance is None else config.guidance,
        "dtype": config.dtype or "default",
        "prompts": len(prompts),
        "prompt_texts": digest("\n".join(prompts)),
        "held_out_texts": digest("\n".join(held_out)),
        "objectives": list(config.objectives or ()),
        "scorers": digest(scorers),
        "guardrails": config.guardrails,
        "space": space.as_dict(),
        "sampler": config.sampler,
        "racing": config.racing,
        "low_steps": config.low_steps,
        "seed": config.seed,
    }


def _scheduler(spec: Any) -> str:
    """Its name, and what is set otherwise than the pipeline has it."""
    changes = json.dumps(spec.scheduler_config, sort_keys=True, default=str) if spec.scheduler_config else ""
    return f"{spec.scheduler} {changes}".rstrip()


def stamp(fingerprint: Mapping[str, Any]) -> str:
    """A short name for a fingerprint."""
    return digest(json.dumps(fingerprint, sort_keys=True))


def digest(text: str) -> str:
    """A short name for a text's content."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def same(study: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a study whose fingerprint is another. Keys that only one of them has don't count.

    Raises:
        UserError: shows each difference.
    """
    other = [key for key in now if key in before and before[key] != now[key]]
    if other:
        shown = "; ".join(f"{key}: {_shown(before[key])} → {_shown(now[key])}" for key in other)
        raise UserError(
            f"study '{study}' was begun with other settings ({shown}): its trials would not compare. Give the "
            "same settings, or another name with --study"
        )


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
