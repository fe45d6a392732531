"""What is known of a base model before its weights are touched: its fields, checked.

`catalogue` reads them from YAML, `lookup` makes them of anything else, `changes` puts settings on them. None of these
loads torch or diffusers, so that a wrong name or key is told at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from configs import UserError
from configs.truth_values import no_truth_value
from freeu.factors import Factors, Stages, Version
from freeu.sampling import Sampling, sizes_of
from freeu.schedulers import OF_EDM, canonical

from .kinds import KINDS, Traits

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(KINDS)]  # pydantic names them all where a YAML has another

PAG_LAYERS = ("mid",)
"""Layers of the U-Net whose self-attention perturbed-attention guidance leaves out, as its authors have it."""

PARTS = {
    "controlnet": "--controlnet",
    "t2i_adapter": "--t2i-adapter",
    "motion_adapter": "--motion-adapter",
    "refiner": "--refiner",
}
"""Networks beside the pipeline's own, and the flag of each."""


OF_SAMPLER = ("algorithm_type", "solver_order", "solver_type")
"""Of a scheduler's config, what another sampler doesn't take over."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    _no_truth_value = field_validator("*", mode="before")(classmethod(no_truth_value))


def _known(name: str) -> str:
    try:
        canonical(name)
    except UserError as error:
        raise ValueError(str(error)) from None
    return name


def _first(found: Any) -> tuple[int, int] | None:
    try:
        return None if found is None else sizes_of(found)[0]
    except UserError as error:
        raise ValueError(str(error)) from None


def side_of(*sizes: tuple[int, int]) -> int:
    """The side of a square of about as many pixels as these have on average, a multiple of 8."""
    pixels = sum(width * height for width, height in sizes) / len(sizes)
    return max(8, round(pixels**0.5 / 8) * 8)


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
        kind: what draws, a row of `.kinds`. "own" is a function of the user's, `source` its package.module:name;
            "comfyui" a workflow, "webui" a request, `source` its file.
        source: a diffusers folder relative to `base`, a single-file checkpoint, or a hub id.
        config: of a single-file checkpoint, the diffusers folder or hub id that says how its pipeline is laid out.
        loras, embeddings, vae, unet: what is put on it; see `freeu.models.addons`.
        controlnet, motion_adapter, refiner: further networks, each a diffusers folder or hub id; see `.parts`. The
            ControlNet is that of a redrawn video.
        controlnets, t2i_adapters: of text to image, each PLACE or PLACE:WEIGHT. control: the pictures that they hold
            every image to. controls: those of a prompt, from a prompt set; see `.control`.
        ip_adapter: FILE or FILE:WEIGHT, see `.ip_adapter`. ip_image: the picture that it reads for every prompt.
            ip_images: by prompt, from a prompt set.
        input: the picture or video that every prompt's image begins from. inputs: one by prompt, from a prompt set.
        mask: white where an inpainting model paints, for all images. masks: by prompt, from a prompt set.
        strength: how much of the denoising run an image that begins from another goes through; 1 is all.
        servers: addresses of those that draw, where a server does. bind: "ROLE=NODE.INPUT" of its workflow.
        needs: of which of them the user has to give one, or the model is nothing of its own.
        revision, variant: of the hub's repository and its weight files; None is the hub's default.
        resolution: pixels of a side. frames: of a video; an image is one. every: of an input video, each how manieth
            frame is redrawn.
        size: (width, height) in pixels, where it is no square; `resolution` is then a side of as many pixels. sizes:
            several, of which each image gets one by its seed (`freeu.sampling.dealt`); `size` is then the first. A YAML
            has either under `size`.
        image_guidance: of a model that edits pictures, the scale of the picture's guidance; its authors' 1.5.
        pag_layers: of perturbed-attention guidance; parts of their names in the U-Net.
        steps, guidance, guidance_rescale, pag_scale, eta, clip_skip, negative_prompt: as in `freeu.sampling.Sampling`;
            a study's, unless it says otherwise. negatives: by prompt, from a prompt set; the others have none then.
        scheduler: a name that `.schedulers` knows, "edm" (DPM++ 2M for models in EDM's formulation), or "default" for
            the one that the pipeline brings. scheduler_config: what differs from the pipeline's. timesteps: those that
            it runs at, in as many steps, instead of its own.
        objectives: what a study of it is searched by. judges: what its confirmation reads beside them; None is
            whatever of the scorers is at hand.
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
    servers: tuple[str, ...] = ()
    bind: tuple[str, ...] = ()
    needs: tuple[Literal["loras", "embeddings", "vae", "unet"], ...] = ()
    vae: str | None = None
    unet: str | None = None
    controlnet: str | None = None
    controlnets: tuple[str, ...] = ()
    t2i_adapters: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    controls: dict[str, tuple[str, ...]] = {}
    ip_adapter: str | None = None
    ip_image: str | None = None
    ip_images: dict[str, str] = {}
    motion_adapter: str | None = None
    refiner: str | None = None
    input: str | None = None
    inputs: dict[str, str] = {}
    mask: str | None = None
    masks: dict[str, str] = {}
    strength: float = Field(default=0.6, gt=0, le=1)
    revision: str | None = None
    variant: str | None = None
    resolution: int = Field(ge=8, le=4096, multiple_of=8)
    frames: int = Field(default=1, ge=1, le=512)
    every: int = Field(default=1, ge=1)
    steps: int = Field(ge=1, le=1000)
    guidance: float = Field(ge=0, le=100)
    image_guidance: float = Field(default=1.5, ge=1, le=100)
    guidance_rescale: float = Field(default=0.0, ge=0, le=1)
    pag_scale: float = Field(default=0.0, ge=0, le=100)
    pag_layers: tuple[str, ...] = PAG_LAYERS
    eta: float | None = Field(default=None, ge=0, le=1)
    clip_skip: int | None = Field(default=None, ge=1, le=100)
    negative_prompt: str = ""
    negatives: dict[str, str] = {}
    size: Annotated[tuple[int, int] | None, BeforeValidator(_first)] = None
    sizes: tuple[tuple[int, int], ...] = ()
    scheduler: Annotated[str, AfterValidator(_known)] = "dpmsolver++"
    scheduler_config: dict[str, Any] = {}
    timesteps: tuple[int, ...] = ()
    prompts: str
    objectives: tuple[str, ...] = ("clip", "aesthetic", "fid")
    judges: tuple[str, ...] | None = None
    published: Published | None = None
    scorers: dict[str, dict[str, Any]] = {}
    reference: dict[str, Any] | None = None
    dtype: Literal["float16", "bfloat16", "float32"] | None = None
    licence: str | None = None
    memory_gb: float | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, found: Any) -> Any:
        if not isinstance(found, dict) or found.get("size") is None:
            return found
        try:
            sizes = sizes_of(found["size"])
        except UserError:
            return found  # told by the field
        more = {"sizes": sizes} if len(sizes) > 1 else {}
        return {"resolution": side_of(*sizes), **found, "size": sizes[0], **more}

    @property
    def traits(self) -> Traits:
        """What is true of every model of its kind."""
        return KINDS[self.kind]

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels, where no input has another."""
        return (self.resolution, self.resolution) if self.size is None else (self.size[1], self.size[0])

    @property
    def sampling(self) -> Sampling:
        """All of its sampling settings but the negative prompts that a prompt set brings, and sizes where it has
        several."""
        height, width = self.image_size
        return Sampling(
            guidance=self.guidance,
            guidance_rescale=self.guidance_rescale,
            pag_scale=self.pag_scale or None,
            steps=self.steps,
            scheduler=canonical(self.scheduler),
            eta=self.eta,
            clip_skip=self.clip_skip,
            negative_prompt=self.negative_prompt,
            size=None if self.sizes else (width, height),
        )

    def sampled(self, sampling: Sampling) -> ModelSpec:
        """This model under other settings, where they are set.

        Raises:
            UserError: no such scheduler.
        """
        given = {name: getattr(sampling, name) for name in sampling.as_dict()}
        if sampling.scheduler is not None:
            config = {key: value for key, value in self.scheduler_config.items() if key not in OF_SAMPLER}
            if self.scheduler == OF_EDM:
                config = {"sigma_data": 0.5, **config}  # diffusers' default, said: it tells the formulation
            given |= {"scheduler": canonical(sampling.scheduler), "scheduler_config": config, "timesteps": ()}
        if sampling.size is not None:
            given |= {"resolution": side_of(sampling.size), "sizes": ()}
        if sampling.negative_prompt is not None:
            given["negatives"] = {}
        return self.model_copy(update=given)

    def dealing(self, sizes: tuple[tuple[int, int], ...]) -> ModelSpec:
        """This model with several sizes, where some are given."""
        given = {"size": sizes[0], "sizes": sizes, "resolution": side_of(*sizes)} if sizes else {}
        return self.model_copy(update=given)

    @property
    def held_by(self) -> tuple[str, ...]:
        """The networks that hold an image to control images."""
        return self.controlnets or self.t2i_adapters

    @property
    def folder(self) -> Path:
        """Where the pipeline stands if `source` is a path; it need not exist."""
        return self.base / self.source
