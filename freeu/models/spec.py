"""What a base model is, as data: one YAML each under configs/models, or whatever diffusers folder the user has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs import UserError, path, read_yaml, unknown
from freeu.factors import Factors

Scheduler = Literal["dpmsolver++", "ddim", "euler"]


class Published(BaseModel):
    """Factors that somebody published for the model, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    b1: float
    b2: float
    s1: float
    s2: float
    version: Literal["v1", "v2"] = "v2"
    stages: Literal["width", "block"] = "width"
    source: str

    def factors(self) -> Factors:
        """The same as Factors."""
        return Factors(self.b1, self.b2, self.s1, self.s2, self.version, self.stages)


class ModelSpec(BaseModel):
    """A base model. Sizes in pixels, memory in GiB at the default batch size.

    `source` is a hub id, a folder relative to configs/models, or an absolute folder. `scorers` and `reference` are read
    by the metrics.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["text-to-image"] = "text-to-image"
    pipeline: Literal["StableDiffusionPipeline", "StableDiffusionXLPipeline"]
    source: str
    revision: str | None = None
    variant: str | None = None
    resolution: int = Field(ge=8, multiple_of=8)
    steps: int = Field(ge=1)
    guidance: float = Field(ge=0)
    scheduler: Scheduler = "dpmsolver++"
    batch_size: dict[Literal["cpu", "cuda", "mps"], int] = Field(default_factory=dict)
    published: Published | None = None
    prompts: str
    scorers: dict[str, dict[str, Any]]
    reference: dict[str, Any]
    licence: str
    memory_gib: float = Field(gt=0)

    @property
    def folder(self) -> Path | None:
        """Where the weights lie, if the source is a folder; None for a hub id."""
        for folder in (Path(self.source), path("models", self.source)):
            if folder.is_dir() and (folder.is_absolute() or folder.exists()):
                return folder.absolute()
        return None


def model_names() -> list[str]:
    """The names that `--model` knows."""
    return sorted(file.stem for file in path("models").glob("*.yaml"))


def load_spec(model: str) -> ModelSpec:
    """The spec of a name, of a YAML file, or of a diffusers folder.

    Raises:
        UserError: no such model (with the nearest name), or a spec that isn't valid.
    """
    known, given = path("models", f"{model}.yaml"), Path(model).expanduser()
    if model in model_names():
        return _validated(read_yaml(known), known)
    if given.suffix in (".yaml", ".yml") and given.is_file():
        return _validated(read_yaml(given), given)
    if given.is_dir():
        return _of_folder(given.absolute())
    raise UserError(
        f"{unknown('model', model, model_names())}; or give a diffusers folder or a spec's YAML file"
    )


def _of_folder(folder: Path) -> ModelSpec:
    """A user's own checkpoint: everything but the weights from the base model that it looks like."""
    index = _read_json(folder / "model_index.json")
    if index.get("_class_name") == "StableDiffusionXLPipeline":
        base = "sdxl"
    elif index.get("_class_name") == "StableDiffusionPipeline":
        width = _read_json(folder / "unet" / "config.json").get("cross_attention_dim")
        base = "sd21" if width == 1024 else "sd15"
    else:
        raise UserError(
            f"{folder} holds a {index.get('_class_name')!r}: StableDiffusionPipeline and StableDiffusionXLPipeline "
            "can be searched"
        )
    likeness = load_spec(base)
    own = {"name": folder.name, "source": str(folder), "revision": None, "variant": None}
    return likeness.model_copy(update=own)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{file.parent} is no diffusers folder: it lacks {file.name}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file} can't be read: {error}") from error


def _validated(values: dict[str, Any], file: Path) -> ModelSpec:
    for key in values:
        if key not in ModelSpec.model_fields:
            raise UserError(f"{file}: {unknown('key', key, ModelSpec.model_fields)}")
    try:
        return ModelSpec.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file}: {where}: {first['msg']} (found {first['input']!r})") from error
