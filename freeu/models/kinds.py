"""The kinds of models that draw: one row for each says what is true of all of its models.

Whatever depends on the kind (which settings mean something, what a prompt set may bring, what an image costs, how it is
listed) asks the row, `ModelSpec.traits`. A new kind is a file that draws, a row of `KINDS`, and where diffusers has a
pipeline of its own for it a row of `PIPELINES`. Loads neither torch nor diffusers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is true of every model of a kind.

    Attributes:
        drawn: "here" with a pipeline of diffusers', by a function of the user's "own", or by a running "server".
        generator: of what is drawn here, its "file:class" in this package.
        also: pipelines of diffusers' that it draws with beside those of `PIPELINES`.
        words: a text encoder tells the U-Net the prompt and a negative one.
        guidance: the guidance scale can be set; None where a server's bindings say whether.
        video: it draws videos. temporal: their frames together, by layers in time; each by itself otherwise.
        begins: the user gives a "picture" or a "video" that the images begin from; None is noise alone.
        strength: how much of the run is gone through from there can be set.
        sees: the U-Net is shown the picture beside the noise, and the mask where there is one.
        sees_pixels: it is shown the picture itself, small.
        mask: the user gives a mask of what is painted.
        picture_guidance: the picture has a guidance scale of its own, a third part of each batch.
        ip_adapter: a picture can be a further prompt.
        perturbed: perturbed-attention guidance goes with it.
        networks: ControlNets, T2I-Adapters and a refiner go with it.
        becomes: by the setting that is given, the kind that it makes of this one; the first counts.
        example: what becomes this kind takes frames, strength and objectives of this model of configs/models.
    """

    drawn: Literal["here", "own", "server"] = "here"
    generator: str = ""
    also: tuple[str, ...] = ()
    words: bool = True
    guidance: bool | None = True
    video: bool = False
    temporal: bool = False
    begins: Literal["picture", "video"] | None = None
    strength: bool = False
    sees: bool = False
    sees_pixels: bool = False
    mask: bool = False
    picture_guidance: bool = False
    ip_adapter: bool = False
    perturbed: bool = False
    networks: bool = False
    becomes: Mapping[str, str] = field(default_factory=dict)
    example: str | None = None

    @property
    def here(self) -> bool:
        """Whether it is drawn with a pipeline of diffusers'."""
        return self.drawn == "here"

    @property
    def by_prompt(self) -> bool:
        """Whether each prompt may begin from a picture of its own."""
        return self.begins == "picture" or "inputs" in self.becomes

    def channels(self, latents: int) -> int:
        """How many the U-Net takes, of `latents` channels each."""
        return latents * (1 + self.sees) + (self.sees and self.mask) + 3 * self.sees_pixels


SD, XL, LCM = "StableDiffusionPipeline", "StableDiffusionXLPipeline", "LatentConsistencyModelPipeline"
SD_INPAINTING, XL_INPAINTING = "StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"

KINDS: dict[str, Traits] = {
    "text-to-image": Traits(
        generator="text_to_image:TextToImage",
        ip_adapter=True,
        perturbed=True,
        networks=True,
        becomes={
            "controlnet": "video-to-video",
            "motion_adapter": "text-to-video",
            "mask": "plain-inpainting",
            "masks": "plain-inpainting",
            "input": "image-to-image",
            "inputs": "image-to-image",
        },
    ),
    "image-to-image": Traits(
        generator="image_to_image:ImageToImage",
        also=(SD, XL, LCM),
        begins="picture",
        strength=True,
        ip_adapter=True,
        perturbed=True,
    ),
    "inpainting": Traits(
        generator="inpainting:Inpainting",
        also=(SD, XL),  # the layout of a single file
        begins="picture",
        strength=True,
        sees=True,
        mask=True,
        ip_adapter=True,
        perturbed=True,
    ),
    "plain-inpainting": Traits(
        generator="plain_inpainting:PlainInpainting",
        also=(SD, XL, LCM, SD_INPAINTING, XL_INPAINTING),
        begins="picture",
        strength=True,
        mask=True,
        ip_adapter=True,
        perturbed=True,
    ),
    "editing": Traits(
        generator="editing:Editing",
        also=(SD,),  # the layout of a single file
        begins="picture",
        sees=True,
        picture_guidance=True,
    ),
    "upscaling": Traits(generator="upscaling:Upscaling", begins="picture", sees_pixels=True),
    "text-to-video": Traits(
        generator="text_to_video:TextToVideo",
        also=(SD, XL),  # with a motion adapter
        video=True,
        temporal=True,
        example="animatediff",
    ),
    "image-to-video": Traits(
        generator="image_to_video:ImageToVideo",
        words=False,
        video=True,
        temporal=True,
        begins="picture",
        sees=True,
    ),
    "video-to-video": Traits(
        generator="video_to_video:VideoToVideo",
        also=(SD, XL),  # with a ControlNet
        video=True,
        begins="video",
        strength=True,
        example="rerender",
    ),
    "own": Traits(drawn="own", guidance=False),
    "comfyui": Traits(drawn="server", guidance=None),
    "webui": Traits(drawn="server"),
}
"""By name, as a model's YAML has it."""

CLIP = ("feature_extractor", "image_encoder")


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A pipeline as diffusers calls it.

    Attributes:
        kind: of the models that it holds.
        like: the model of configs/models whose settings one takes that has no YAML; None: Stable Diffusion's, 1 or 2.
        encoder: the part that it can't be told its prompts without.
        left_out: parts that are not loaded.
        read_as: the class that reads it.
    """

    kind: str
    like: str | None = None
    encoder: str = "text_encoder"
    left_out: tuple[str, ...] = CLIP
    read_as: str | None = None


CHECKED = (*CLIP, "safety_checker")
PIPELINES: dict[str, Pipeline] = {
    SD: Pipeline(kind="text-to-image", left_out=CHECKED),
    XL: Pipeline(kind="text-to-image", like="sdxl", encoder="text_encoder_2"),
    "StableDiffusionXLImg2ImgPipeline": Pipeline(
        kind="image-to-image", like="sdxl", encoder="text_encoder_2", left_out=()
    ),
    LCM: Pipeline(kind="text-to-image", like="lcm", left_out=CHECKED),
    SD_INPAINTING: Pipeline(kind="inpainting", left_out=CHECKED),
    XL_INPAINTING: Pipeline(kind="inpainting", like="sdxl", encoder="text_encoder_2"),
    # Its own class can't encode a prompt by itself.
    "StableDiffusionInstructPix2PixPipeline": Pipeline(kind="editing", read_as=SD),
    "TextToVideoSDPipeline": Pipeline(kind="text-to-video", like="modelscope", left_out=()),
    "AnimateDiffPipeline": Pipeline(kind="text-to-video", like="animatediff"),
    "AnimateDiffSDXLPipeline": Pipeline(kind="text-to-video", like="animatediff-sdxl", encoder="text_encoder_2"),
    "StableDiffusionUpscalePipeline": Pipeline(kind="upscaling", left_out=("feature_extractor", "safety_checker")),
    "StableVideoDiffusionPipeline": Pipeline(kind="image-to-video", like="svd", encoder="image_encoder", left_out=()),
}


def pipelines_of(kind: str) -> list[str]:
    """Those that models of a kind are drawn with."""
    return [name for name, each in PIPELINES.items() if each.kind == kind or name in KINDS[kind].also]
