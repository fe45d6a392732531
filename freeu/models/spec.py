"""What is known of a base model before its weights are touched: configs/models/NAME.yaml, checked.

Loads neither torch nor diffusers, so that a wrong name or key is told at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import configs
from configs import UserError, quoted, shortened
from freeu.factors import Factors, Stages, Version

from .identity import read_index, read_json
from .single import nearest as nearest_of_file
from .single import noising

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
OWN_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
Kind = Literal["text-to-image", "image-to-image", "text-to-video", "image-to-video", "video-to-video", "own"]
PIPELINES: dict[str, Kind] = {
    "StableDiffusionPipeline": "text-to-image",
    "StableDiffusionXLPipeline": "text-to-image",
    "StableDiffusionXLImg2ImgPipeline": "image-to-image",
    "LatentConsistencyModelPipeline": "text-to-image",
    "TextToVideoSDPipeline": "text-to-video",
    "AnimateDiffPipeline": "text-to-video",
    "StableVideoDiffusionPipeline": "image-to-video",
}
"""What diffusers calls it, and the kind of generator that draws with it."""
ALSO: dict[Kind, tuple[str, ...]] = {
    "image-to-image": ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "LatentConsistencyModelPipeline"),
    "text-to-video": ("StableDiffusionPipeline",),  # with a motion adapter
    "video-to-video": ("StableDiffusionPipeline", "StableDiffusionXLPipeline"),  # with a ControlNet
}
"""Pipelines that other kinds than their own draw with."""
NEAREST = {
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "LatentConsistencyModelPipeline": "lcm",
    "TextToVideoSDPipeline": "modelscope",
    "AnimateDiffPipeline": "animatediff",
    "StableVideoDiffusionPipeline": "svd",
}
BRINGS_ITS_OWN = ("EDM", "LCM", "TCD", "FlowMatch")
"""How the names of the schedulers begin that no other can stand in for: they noise, or step, in a way of their own."""
OWN = ("name", "base", "inputs")
"""Fields that no YAML sets: the file's own name and place, and what a prompt set brings."""


PARTS = {"controlnet": "--controlnet", "motion_adapter": "--motion-adapter", "refiner": "--refiner"}
"""Fields that name networks beside the pipeline's own, and the flag of each."""
ONLY: dict[str, tuple[str, ...]] = {
    "frames": ("text-to-video", "image-to-video", "video-to-video"),
    "every": ("video-to-video",),
    "strength": ("image-to-image", "video-to-video"),
}
"""Settings that mean something to these kinds alone."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Published(_Strict):
    """Factors that someone recommended for the model, and who."""

    b1: float
    b2: float
    s1: float
    s2: float
    version: Version
    stages: Stages
    source: str

    def factors(self) -> Factors:
        """As the factors of a candidate."""
        return Factors(**self.model_dump(exclude={"source"}))


class ModelSpec(_Strict):
    """A base model.

    Attributes:
        name: the file's or folder's name.
        base: the folder that relative paths of this spec start from.
        kind: what draws: a file of this package. "own" is a function of the user's, `source` its package.module:name.
        source: a diffusers folder relative to `base`, a single-file checkpoint, or a hub id.
        config: of a single-file checkpoint, the diffusers folder or hub id that says how its pipeline is laid out.
        loras, embeddings, vae, unet: what is put on it; see `freeu.models.addons`.
        controlnet, motion_adapter, refiner: further networks, each a diffusers folder or hub id; see `.parts`.
        input: the picture or video that every prompt's image begins from. inputs: one by prompt, from a prompt set.
        strength: how much of the denoising run an image that begins from another goes through; 1 is all.
        needs: of which of them the user has to give one, or the model is nothing of its own.
        revision, variant: of the hub's repository and its weight files; None is the hub's default.
        resolution: pixels of a side. frames: of a video; an image is one. every: of an input video, each how manieth
            frame is redrawn.
        steps, guidance: defaults of a study.
        scheduler: "dpmsolver++", "ddim", or "default" for the one that the pipeline brings. scheduler_config: what
            differs from the pipeline's.
        objectives: what a study of it is searched by.
        prompts: the default prompt set. scorers, reference: what `metrics` builds its encoders and features from.
        published: the factors to compare with.
        dtype: of the weights on cuda; None is float16. Elsewhere it is float32.
        memory_gb: of the accelerator, for a batch of one.
    """

    name: str
    base: Path
    kind: Kind = "text-to-image"
    source: str = Field(min_length=1)
    config: str | None = None
    loras: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    needs: tuple[Literal["loras", "embeddings", "vae", "unet"], ...] = ()
    vae: str | None = None
    unet: str | None = None
    controlnet: str | None = None
    motion_adapter: str | None = None
    refiner: str | None = None
    input: str | None = None
    inputs: dict[str, str] = {}
    strength: float = Field(default=0.6, gt=0, le=1)
    revision: str | None = None
    variant: str | None = None
    resolution: int = Field(ge=8, le=4096, multiple_of=8)
    frames: int = Field(default=1, ge=1, le=512)
    every: int = Field(default=1, ge=1)
    steps: int = Field(ge=1, le=1000)
    guidance: float = Field(ge=0, le=100)
    scheduler: Literal["dpmsolver++", "default", "ddim"] = "dpmsolver++"
    scheduler_config: dict[str, Any] = {}
    prompts: str
    objectives: tuple[str, ...] = ("clip", "aesthetic", "fid")
    published: Published | None = None
    scorers: dict[str, dict[str, Any]] = {}
    reference: dict[str, Any] | None = None
    dtype: Literal["float16", "bfloat16", "float32"] | None = None
    licence: str | None = None
    memory_gb: float | None = Field(default=None, gt=0)

    @property
    def folder(self) -> Path:
        """Where the pipeline stands if `source` is a path; it need not exist."""
        return self.base / self.source


def names() -> list[str]:
    """The base models of configs/models."""
    return sorted(file.stem for file in configs.path("models").glob("*.yaml"))


def of_source(name: str) -> ModelSpec | None:
    """The model of configs/models that is the repository of this name (without its owner) and nothing beside it."""
    for each in names():
        found = configs.read_yaml(configs.path("models", f"{each}.yaml"))
        if found["source"].endswith(f"/{name}") and not any(found.get(field) for field in ("needs", *PARTS)):
            return load_spec(each)
    return None


def load_spec(name_or_folder: str | Path) -> ModelSpec:
    """The spec of a model of configs/models, of a YAML file, of a diffusers folder, or of package.module:function.

    A folder or hub id takes its defaults from the model of configs/models that has its name on the hub, else from the
    one that is most like it.

    Raises:
        configs.UserError: no such model (the nearest is named), or something in its files is wrong.
    """
    wanted = str(name_or_folder)
    if wanted in names():
        return _from_yaml(configs.path("models", f"{wanted}.yaml"))
    if OWN_FUNCTION.fullmatch(wanted):
        return _of_function(wanted)
    place = Path(wanted).expanduser()
    if place.suffix in (".yaml", ".yml"):
        return _from_yaml(place)
    if _is_folder(place):
        return _from_folder(place.resolve(), place.resolve().name)
    if place.suffix == ".safetensors":
        return _from_file(place.resolve())
    error = configs.unknown("model", wanted, names())
    if HUB_ID.fullmatch(wanted):
        return _from_hub(wanted, error)
    raise UserError(
        f"{error}; or give the folder of a diffusers pipeline, a .safetensors checkpoint, a YAML file, or "
        "package.module:function"
    )


def changed(spec: ModelSpec, given: dict[str, Any]) -> ModelSpec:
    """The spec with other values in some fields, and the kind that they make of it: Stable Diffusion with a picture
    to begin from is image to image, with a motion adapter text to video, with a ControlNet video to video.

    Raises:
        UserError: the model can do nothing with one of them.
    """
    found = spec.model_copy(update=given)
    kind = spec.kind
    if kind == "text-to-image":
        if found.controlnet:
            kind = "video-to-video"
        elif found.motion_adapter:
            kind = "text-to-video"
        elif found.input or found.inputs:
            kind = "image-to-image"
    if found.input and not kind.startswith(("image", "video")):
        raise UserError(f"--input {found.input}: {spec.name} is {kind} and begins from no picture")
    if kind == "image-to-image" and not (found.input or found.inputs):
        raise UserError(
            f"--model {spec.name} makes pictures of pictures: give one with --input FILE, or several with "
            "--prompts FOLDER"
        )
    for field, kinds in ONLY.items():
        if field in given and kind not in kinds:
            raise UserError(f"--{field} {given[field]}: {spec.name} is {kind}, for which it means nothing")
    if found.refiner and kind != "text-to-image":
        raise UserError(f"--refiner goes with text to image, and this is {kind}")
    if kind != spec.kind and kind.endswith("video"):
        like = load_spec("rerender" if kind == "video-to-video" else "animatediff")
        fields = ["frames", "every", "strength", "objectives"]
        if kind == "text-to-video":  # trained on a schedule of its own; a ControlNet follows the model's
            fields += ["scheduler", "scheduler_config"]
        found = found.model_copy(update={field: getattr(like, field) for field in fields if field not in given})
    return found.model_copy(update={"kind": kind})


def _from_yaml(file: Path) -> ModelSpec:
    found = configs.read_yaml(file)
    given = set(ModelSpec.model_fields) - set(OWN)
    for key in found:
        if key not in given:
            raise UserError(f"{file}: {configs.unknown('key', key, given)}")
    try:
        spec = ModelSpec(name=file.stem, base=file.resolve().parent, **_scored(found))
        if spec.published is not None:
            spec.published.factors()
    except ValidationError as error:
        raise UserError(f"{file}: {_explained(error)}") from error
    except UserError as error:
        raise UserError(f"{file}: published: {error}") from error
    return spec


def _scored(found: dict[str, Any]) -> dict[str, Any]:
    """A model's YAML with the scorers and the reference of configs/scorers.yaml where it has none of its own."""
    common = configs.read_yaml(configs.path("scorers.yaml"))
    reference = common.pop("reference")
    own = found.get("scorers")
    if own is not None and not isinstance(own, dict):
        return found  # told by the validation
    return {**found, "scorers": {**common, **(own or {})}, "reference": found.get("reference") or reference}


def _of_function(source: str) -> ModelSpec:
    """A function of the user's, with the scorers and defaults of Stable Diffusion 1.5."""
    own = {"name": source.partition(":")[2], "kind": "own", "source": source, "base": Path.cwd()}
    return load_spec("sd15").model_copy(update=own | {"published": None, "licence": None, "memory_gb": None})


def _explained(error: ValidationError) -> str:
    first = error.errors()[0]
    *above, key = (str(part) for part in first["loc"])
    where = ".".join([*above, key])
    if first["type"] == "extra_forbidden":  # only `published` has keys of its own
        return str(configs.unknown(f"key of {'.'.join(above)}", key, Published.model_fields))
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where} is {quoted(first['input'])}: {first['msg']}"


def _from_folder(folder: Path, name: str) -> ModelSpec:
    index = read_index(folder)
    pipeline = str(index.get("_class_name"))  # a list in some hand-made files
    if pipeline not in PIPELINES:
        raise UserError(f"{folder} holds a {shortened(pipeline)}: {' and '.join(PIPELINES)} can be searched")
    unet, vae = _config(folder, "unet"), _config(folder, "vae")
    # 1024 is the text width of OpenCLIP's encoder in SD 2, 768 that of CLIP's in SD 1.
    like_stable_diffusion = "sd21" if unet.get("cross_attention_dim") == 1024 else "sd15"
    nearest = of_source(name)
    if nearest is None or nearest.kind != PIPELINES[pipeline]:
        nearest = load_spec({**NEAREST, "StableDiffusionPipeline": like_stable_diffusion}[pipeline])
    factor = 2 ** max(0, len(vae.get("block_out_channels", ())) - 1)
    side = unet.get("sample_size")
    weights = [file.name for file in (folder / "unet").glob("*.safetensors")]
    own: dict[str, Any] = {
        "name": name,
        "kind": PIPELINES[pipeline],
        "source": str(folder),
        "motion_adapter": None,
        "scheduler": "default" if _scheduler(index).startswith(BRINGS_ITS_OWN) else nearest.scheduler,
        "scheduler_config": {},
        "revision": None,
        "variant": "fp16" if weights and all(".fp16" in name for name in weights) else None,
        "resolution": side * factor if isinstance(side, int) else nearest.resolution,
        "licence": None,
        "memory_gb": None,
    }
    return nearest.model_copy(update=own)


def _from_hub(repo: str, unknown: UserError) -> ModelSpec:
    """A pipeline on the hub, or in its cache, of which only the layout is fetched here; of one that configs/models
    knows, not even that."""
    from .locate import hub_layout

    name = repo.partition("/")[2]
    known = of_source(name)
    if known is not None and known.source == repo:
        return known.model_copy(update={"name": name})
    try:
        folder = hub_layout(repo)
    except UserError as error:
        raise UserError(f"{unknown}; there is no such folder, and as a hub id: {error}") from error
    return _from_folder(folder, name).model_copy(update={"source": repo})


def _from_file(file: Path) -> ModelSpec:
    """A single-file checkpoint; the layout of its pipeline is that of the model that it is like, and so is how noise is
    scheduled, save for what the file says of it."""
    like = load_spec(nearest_of_file(file))
    own = {"name": file.stem, "source": str(file), "config": like.source, "revision": None, "variant": None}
    return like.model_copy(update=own | {"licence": None, "scheduler_config": noising(file)})


def _scheduler(index: dict[str, Any]) -> str:
    """The class of the scheduler that a pipeline's model_index.json names; "" if none."""
    found = index.get("scheduler")
    return str(found[-1]) if isinstance(found, list) and found else ""


def _config(folder: Path, part: str) -> dict[str, Any]:
    file = folder / part / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} is incomplete: it has no {part}/config.json")
    return read_json(file)


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError:  # a name too long for the file system, say
        return False
