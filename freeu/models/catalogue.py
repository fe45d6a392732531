"""The base models that are known by name: configs/models/NAME.yaml, and a user's YAML like those, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

import configs
from configs import UserError, quoted

from .noising import noising
from .spec import PARTS, ModelSpec, Published

OWN = ("name", "base", "inputs", "controls", "masks", "ip_images", "negatives")
"""Fields that no YAML sets: the file's own name and place, and what a prompt set brings."""


def names() -> list[str]:
    """The base models of configs/models."""
    return sorted(file.stem for file in configs.path("models").glob("*.yaml"))


def of_source(name: str) -> ModelSpec | None:
    """The model of configs/models that is the repository of this name (without its owner) and nothing beside it."""
    for each in names():
        found = configs.read_yaml(configs.path("models", f"{each}.yaml"))
        if found["source"].endswith(f"/{name}") and not any(found.get(field) for field in ("needs", *PARTS)):
            return of_name(each)
    return None


def of_name(name: str) -> ModelSpec:
    """The model of configs/models that has this name."""
    return from_yaml(configs.path("models", f"{name}.yaml"))


def from_yaml(file: Path) -> ModelSpec:
    """The model of a YAML file.

    Raises:
        UserError: it can't be read, or a key or value in it is wrong.
    """
    found = configs.read_yaml(file)
    given = set(ModelSpec.model_fields) - set(OWN)
    for key in found:
        if key not in given:
            raise UserError(f"{file}: {configs.unknown('key', key, given)}")
    base = file.resolve().parent
    try:
        spec = ModelSpec(name=file.stem, base=base, **_scored(_noised(found, base)))
        if spec.published is not None:
            spec.published.factors()
    except ValidationError as error:
        raise UserError(f"{file}: {explained(error)}") from error
    except UserError as error:
        raise UserError(f"{file}: published: {error}") from error
    return spec


def _noised(found: dict[str, Any], base: Path) -> dict[str, Any]:
    """A model's YAML with what its checkpoint, where it is a single file, says of its scheduler; the YAML has the last
    word."""
    source, config = found.get("source"), found.get("scheduler_config", {})
    if not isinstance(source, str) or not isinstance(config, dict) or not source.endswith(".safetensors"):
        return found
    if not (base / source).is_file():
        return found
    scheduler, changes = noising(base / source)
    return {**({"scheduler": scheduler} if scheduler else {}), **found, "scheduler_config": {**changes, **config}}


def _scored(found: dict[str, Any]) -> dict[str, Any]:
    """A model's YAML with the scorers and the reference of configs/scorers.yaml where it has none of its own."""
    common = configs.read_yaml(configs.path("scorers.yaml"))
    reference = common.pop("reference")
    own = found.get("scorers")
    if own is not None and not isinstance(own, dict):
        return found  # told by the validation
    return {**found, "scorers": {**common, **(own or {})}, "reference": found.get("reference") or reference}


def explained(error: ValidationError) -> str:
    """The first thing that is wrong in a model's fields."""
    first = error.errors()[0]
    *above, key = (str(part) for part in first["loc"])
    where = ".".join([*above, key])
    if first["type"] == "extra_forbidden":  # only `published` has keys of its own
        return str(configs.unknown(f"key of {'.'.join(above)}", key, Published.model_fields))
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where} is {quoted(first['input'])}: {first['msg']}"
