"""What is known of a base model before its weights are touched: its fields, checked.

`catalogue` reads them from YAML, `lookup` makes them of anything else, `changes` puts settings on them. None of these
loads torch or diffusers, so that a wrong name or key is told at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from freeu.factors import Factors, Stages, Version

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
Kind = Literal[
    "text-to-image", "image-to-image", "text-to-video", "image-to-video", "video-to-video", "own", "comfyui", "webui"
]
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

SERVERS: tuple[Kind, ...] = ("comfyui", "webui")
"""Kinds that a running server draws; see `freeu.servers`."""

PARTS = {"controlnet": "--controlnet", "motion_adapter": "--motion-adapter", "refiner": "--refiner"}
"""Fields that name networks beside the pipeline's own, and the flag of each."""


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
        kind: what draws: a file of this package. "own" is a function of the user's, `source` its package.module:name;
            "comfyui" a workflow, "webui" a request, `source` its file.
        source: a diffusers folder relative to `base`, a single-file checkpoint, or a hub id.
        config: of a single-file checkpoint, the diffusers folder or hub id that says how its pipeline is laid out.
        loras, embeddings, vae, unet: what is put on it; see `freeu.models.addons`.
        controlnet, motion_adapter, refiner: further networks, each a diffusers folder or hub id; see `.parts`.
        input: the picture or video that every prompt's image begins from. inputs: one by prompt, from a prompt set.
        strength: how much of the denoising run an image that begins from another goes through; 1 is all.
        servers: addresses of those that draw, where a server does. bind: "ROLE=NODE.INPUT" of its workflow.
        needs: of which of them the user has to give one, or the model is nothing of its own.
        revision, variant: of the hub's repository and its weight files; None is the hub's default.
        resolution: pixels of a side. frames: of a video; an image is one. every: of an input video, each how manieth
            frame is redrawn.
        steps, guidance: defaults of a study.
        scheduler: "dpmsolver++", "ddim", "edm" (DPM-Solver++ for models in EDM's formulation), or "default" for the one
            that the pipeline brings. scheduler_config: what
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
    servers: tuple[str, ...] = ()
    bind: tuple[str, ...] = ()
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
    scheduler: Literal["dpmsolver++", "default", "ddim", "edm"] = "dpmsolver++"
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
