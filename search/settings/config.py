"""A study's settings. Each is one field of `StudyConfig`; its value comes from a flag, else a YAML, else its default.

Everything else about a setting is made from its field; see `search.settings.setting`. To add one, add a field here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from configs.truth_values import no_truth_value
from search.optimizer import samplers
from search.settings.setting import BUDGET, MACHINE, MODEL, PLACE, SCORES, SEARCH, Setting
from search.settings.values import (
    Amount,
    Count,
    CountAutoOrOff,
    Folder,
    Margins,
    Names,
    NumberType,
    Scale,
    Scales,
    Share,
    Sizes,
    Text,
    Texts,
)

NAMED_BY = (".yaml", ".json", ".safetensors", ".png", ".webp")
"""How a file ends that a study is named by, without that."""


class StudyConfig(BaseModel):
    """The settings of one study, validated. None means the model's own value, or one chosen for the device."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _no_truth_value = field_validator("*", mode="before")(classmethod(no_truth_value))

    model: Annotated[Text, Setting(MODEL, "MODEL", "Name of a base model, or one of your own")] = "shapes"
    loras: Annotated[Texts, Setting(MODEL, "FILE[:0.8]", "LoRA and its weight; repeatable", flag="lora")] = ()
    embeddings: Annotated[Texts, Setting(MODEL, "FILE[:TOKEN]", "Textual inversion; repeatable", flag="embedding")] = ()
    vae: Annotated[Text | None, Setting(MODEL, "PLACE", "Another VAE: a folder or safetensors file")] = None
    unet: Annotated[Text | None, Setting(MODEL, "PLACE", "A fine-tuned U-Net: a folder or safetensors file")] = None
    controlnet: Annotated[
        Texts,
        Setting(MODEL, "PLACE[:0.8]", "ControlNet, for images or to redraw a video; repeatable", flag="controlnet"),
    ] = ()
    t2i_adapter: Annotated[Texts, Setting(MODEL, "PLACE[:0.8]", "T2I-Adapter; repeatable", flag="t2i-adapter")] = ()
    control: Annotated[
        Texts,
        Setting(
            MODEL,
            "PLACE",
            "Control image, or a folder of one for each prompt; repeatable",
            "the input's edges",
            flag="control",
        ),
    ] = ()
    ip_adapter: Annotated[
        Text | None, Setting(MODEL, "FILE[:0.6]", "IP-Adapter and its weight; its image encoder stands beside it")
    ] = None
    ip_image: Annotated[Text | None, Setting(MODEL, "FILE", "Picture that the IP-Adapter reads")] = None
    motion_adapter: Annotated[Text | None, Setting(MODEL, "PLACE", "AnimateDiff's: Stable Diffusion makes videos")] = (
        None
    )
    refiner: Annotated[Text | None, Setting(MODEL, "PLACE", "SDXL's, for the end of each run")] = None
    servers: Annotated[
        Texts,
        Setting(MODEL, "URL", "Server that draws comfyui:FILE; repeatable", "this machine's", "server"),
    ] = ()
    bind: Annotated[
        Texts,
        Setting(MODEL, "ROLE=NODE.INPUT", "An input of the workflow that a study sets; repeatable", flag="bind"),
    ] = ()
    input: Annotated[Text | None, Setting(MODEL, "PLACE", "Image or video that every result begins from")] = None
    mask: Annotated[Text | None, Setting(MODEL, "FILE", "White where the input is painted anew")] = None
    strength: Annotated[
        Annotated[float, Field(gt=0, le=1)] | None,
        Setting(MODEL, "X", "How far an image goes from its input, up to 1", "the model's"),
    ] = None
    frames: Annotated[Count | None, Setting(MODEL, "N", "Frames of a video", "the model's")] = None
    every: Annotated[Count | None, Setting(MODEL, "N", "Redraw every N-th frame", "the model's")] = None
    pipeline_config: Annotated[
        Text | None, Setting(MODEL, "FOLDER", "Layout of a single-file checkpoint: a diffusers folder like it")
    ] = None
    like: Annotated[
        Text | None, Setting(MODEL, "IMAGE|FILE", "Sampling settings of an image, as the web UI or ComfyUI saved it")
    ] = None
    steps: Annotated[Count | None, Setting(MODEL, "N", "Denoising steps", "the model's")] = None
    guidance: Annotated[
        Annotated[float, Field(ge=0, allow_inf_nan=False)] | None,
        Setting(MODEL, "X", "Guidance scale", "the model's"),
    ] = None
    guidance_rescale: Annotated[
        Share | None,
        Setting(MODEL, "X", "How far guidance's contrast is taken back, up to 1", "the model's"),
    ] = None
    pag_scale: Annotated[
        Scale | None, Setting(MODEL, "X", "Scale of perturbed-attention guidance, as 3", "the model's")
    ] = None
    pag_layers: Annotated[Names | None, Setting(MODEL, "A,B", "Layers whose attention it leaves out", "mid")] = None
    negative_prompt: Annotated[
        str | None,
        Setting(MODEL, "TEXT|FILE", "Negative prompt, or a file of one for each prompt", "the model's"),
    ] = None
    scheduler: Annotated[
        Text | None, Setting(MODEL, "NAME", 'As "Euler a", "DPM++ 2M Karras", UniPC', "the model's")
    ] = None
    eta: Annotated[
        Share | None,
        Setting(MODEL, "X", "Noise that DDIM and TCD add, 0 to 1", "the scheduler's"),
    ] = None
    clip_skip: Annotated[
        Count | None, Setting(MODEL, "N", "The text encoder's layer, as the web UI counts", "the model's")
    ] = None
    size: Annotated[
        Sizes,
        Setting(MODEL, "WxH", "Size in pixels; repeatable: dealt to images by seed", "the model's", "size"),
    ] = ()

    prompts: Annotated[
        Text | None,
        Setting(SCORES, "NAME|FILE", "Prompt set: a name, or a txt, csv, tsv, json, jsonl file", "the model's"),
    ] = None
    subject: Annotated[Text | None, Setting(SCORES, "WORDS", 'Replaces {subject} in prompts, as in "a sks dog"')] = None
    limit: Annotated[Count, Setting(SCORES, "N", "Prompts per trial")] = 48
    held_out: Annotated[
        Count | None, Setting(SCORES, "N", "Held-out prompts for the finalists", "all, 512 at most")
    ] = None
    judge: Annotated[
        Literal["metrics", "person"],
        Setting(SCORES, "metrics|person", "Who gives the verdict; a person votes on the finalists at the end"),
    ] = "metrics"
    finalists: Annotated[Count, Setting(SCORES, "N", "Picks that are confirmed on held-out prompts")] = 2
    objectives: Annotated[
        Names | None, Setting(SCORES, "A,B", "What to optimize, as clip,aesthetic,fid", "the model's")
    ] = None
    goal: Annotated[
        Literal["faithful", "beautiful", "realistic", "balanced"] | None,
        Setting(SCORES, "NAME", "faithful, beautiful, realistic or balanced: objectives and judges", "the model's"),
    ] = None
    judges: Annotated[
        Names | None,
        Setting(SCORES, "A,B|none", "What the confirmation reads and the search never does", "the model's at hand"),
    ] = None
    margin: Annotated[
        Margins,
        Setting(SCORES, "NAME=X", "Loss in an objective that does not matter, as clip=0.1; repeatable", flag="margin"),
    ] = ()
    reference: Annotated[
        Text | None,
        Setting(SCORES, "PLACE", "Real images: a folder, table, .npz or hub id", "the model's"),
    ] = None
    baseline_guidance: Annotated[
        Scales,
        Setting(
            SCORES,
            "A,B|off",
            "Guidance scales at which FreeU off is scored too",
            "searched for, half to twice the study's",
        ),
    ] = None
    guardrails: Annotated[
        bool, Setting(SCORES, None, "Keep colour, contrast and detail within bounds", fingerprint=True)
    ] = True

    version: Annotated[Literal["v1", "v2"], Setting(SEARCH, "v1|v2", "FreeU's version")] = "v2"
    stages: Annotated[
        Literal["width", "block"], Setting(SEARCH, "width|block", "How decoder stages are recognised")
    ] = "width"
    sampler: Annotated[
        Text,
        Setting(SEARCH, "NAME", f"Sampler: {', '.join(samplers.SAMPLERS)}", fingerprint=True),
    ] = "gp"
    space: Annotated[
        Text | None, Setting(SEARCH, "FILE", "YAML of ranges and further dimensions", "four wide ranges")
    ] = None
    start_from: Annotated[
        Texts, Setting(SEARCH, "STUDY|FILE", "Try its best candidates first; repeatable", flag="from")
    ] = ()
    racing: Annotated[
        bool, Setting(SEARCH, None, "Evaluate only promising candidates on all prompts", fingerprint=True)
    ] = True
    low_steps: Annotated[
        CountAutoOrOff,
        Setting(SEARCH, "N|auto|off", "Fewer steps on the first rung, if they rank alike", "off", fingerprint=True),
    ] = None
    low_size: Annotated[
        CountAutoOrOff,
        Setting(SEARCH, "N|auto|off", "Smaller images there, for models above 512 pixels", "off", fingerprint=True),
    ] = None
    cache: Annotated[bool, Setting(SEARCH, None, "Reuse the scores of images that were made before")] = True
    seed: Annotated[
        Annotated[int, Field(ge=0, lt=2**63)],
        Setting(SEARCH, "N", "Seed of candidates, noise and statistics", fingerprint=True),
    ] = 0

    trials: Annotated[Count, Setting(BUDGET, "N", "Complete trials")] = 64
    minutes: Annotated[Amount | None, Setting(BUDGET, "M", "Time limit, confirmation included")] = None
    images: Annotated[Count | None, Setting(BUDGET, "N", "Image limit, confirmation included")] = None
    gpu_hours: Annotated[Amount | None, Setting(BUDGET, "H", "Device hours in all, confirmation included")] = None
    patience: Annotated[Count | None, Setting(BUDGET, "N", "Stop after N trials without improvement", "never")] = None

    workers: Annotated[
        Annotated[Count, Field(le=1000)], Setting(MACHINE, "N", "Processes that evaluate, one per GPU")
    ] = 1
    ray: Annotated[Text | None, Setting(MACHINE, "ADDRESS|local", "Workers on a Ray cluster; needs ray")] = None
    batch_size: Annotated[
        Count | None, Setting(MACHINE, "N", "Images at a time; does not change scores", "the model's")
    ] = None
    device: Annotated[Text | None, Setting(MACHINE, "NAME", "cpu, cuda, cuda:1 or mps", "cuda where there is one")] = (
        None
    )
    dtype: Annotated[
        NumberType | None,
        Setting(MACHINE, "NAME", "float32, float16 or bfloat16", "float16 on cuda"),
    ] = None
    vae_dtype: Annotated[
        NumberType | None,
        Setting(
            MACHINE,
            "NAME",
            "The decoder's own, as bfloat16 for SDXL's",
            "the model's; float32 where half precision overflows",
            fingerprint=True,
            images=True,
        ),
    ] = None
    slicing: Annotated[bool, Setting(MACHINE, None, "Attention in slices: less memory, slower")] = False
    offload: Annotated[bool, Setting(MACHINE, None, "Networks on the device only while they run")] = False
    compile: Annotated[bool, Setting(MACHINE, None, "Compile the U-Net: slow start, then faster")] = False
    cuda_graphs: Annotated[bool, Setting(MACHINE, None, "Replay what --compile made, for small images")] = False

    study: Annotated[Text | None, Setting(PLACE, "NAME", "Study to begin or to resume", "the model's name")] = None
    storage: Annotated[Text | None, Setting(PLACE, "URL", "postgresql://…, for several machines; needs psycopg")] = None
    tracking_uri: Annotated[
        Text | None,
        Setting(PLACE, "URI", "MLflow server or database", "MLFLOW_TRACKING_URI, else in --mlruns"),
    ] = None
    keep_images: Annotated[
        Literal["all", "picks", "small"],
        Setting(PLACE, "all|picks|small", "Kept at full size: all images, the held-out ones, or none"),
    ] = "picks"
    mlruns: Annotated[Folder, Setting(PLACE, "DIR", "Results folder")] = Path("mlruns")

    @property
    def margins(self) -> dict[str, float]:
        """Objective → the loss in it that does not matter."""
        return {name.strip(): float(value) for name, _, value in (each.partition("=") for each in self.margin)}

    @property
    def name(self) -> str:
        """The study's name: as given, else the model's."""
        place = Path(self.model.rpartition(":")[2]).expanduser().absolute()  # of package.module:function the function
        return self.study or (place.stem if place.suffix in NAMED_BY else place.name)


FIELDS = StudyConfig.model_fields
