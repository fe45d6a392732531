"""Networks beside the pipeline's own: ControlNets, T2I-Adapters, AnimateDiff's motion adapter, SDXL's refiner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError, shortened

from . import adapter_file, identity
from .identity import only_variant, read_json
from .locate import Wanted, find, found_here, wanted_parts
from .single import header
from .spec import PARTS, ModelSpec

if TYPE_CHECKING:
    import torch

CLASSES = {
    "controlnet": "ControlNetModel",
    "t2i_adapter": "T2IAdapter",
    "motion_adapter": "MotionAdapter",
    "refiner": "StableDiffusionXLImg2ImgPipeline",
}
"""What diffusers calls them."""
UNION = (
    "is a ControlNet-Union, which has to be told of what kind its control image is, and is not read: give a ControlNet "
    "for that kind alone, as one for depth or for edges"
)


@dataclass(frozen=True)
class Part:
    """One of them. field: of the spec, which names it. folder: its own, or a ControlNet's or T2I-Adapter's single file.
    variant: of its weights."""

    field: str
    folder: Path
    variant: str | None = None

    @property
    def files(self) -> list[Path]:
        """What it is loaded from, for the identity of the model."""
        if self.field == "refiner":
            return identity.files(self.folder)
        if self.folder.is_file():
            return [self.folder]
        return [self.folder / "config.json", *identity.weights(self.folder, self.variant)]


def parts(spec: ModelSpec) -> list[Part]:
    """Those of the spec, on this machine.

    Raises:
        UserError: one can't be had; says what was tried and what to do.
    """
    found = []
    for field, wanted in _wanted(spec):
        found.append(Part(field, find(wanted), wanted.variant))
        _check(found[-1])
    return found


def check_early(spec: ModelSpec, folder: Path | None) -> None:
    """Whether those that are on this machine are of the right kind and fit the model in `folder`, where that is known.

    Raises:
        UserError: one doesn't, or is not there.
    """
    for field, wanted in _wanted(spec):
        if (place := found_here(wanted)) is None:
            continue
        part = Part(field, place, wanted.variant)
        _check(part)
        unet = {} if folder is None else read_json(folder / "unet" / "config.json")
        if field == "controlnet" and part.folder.is_dir():
            check_words(part, read_json(part.folder / "config.json"), unet)
        elif field == "t2i_adapter" and unet:
            is_file = part.folder.is_file()
            made = adapter_file.config(part.folder) if is_file else read_json(part.folder / "config.json")
            check_levels(part.folder, made, unet)


def check_words(part: Part, network: Mapping[str, Any], unet: Mapping[str, Any]) -> None:
    """Raises UserError where a ControlNet takes text embeddings of another width than the model's U-Net; both as their
    configs say."""
    words, wanted = (each.get("cross_attention_dim") for each in (network, unet))
    if words is not None and wanted is not None and words != wanted:
        raise UserError(
            f"{PARTS[part.field]} {part.folder} does not fit this model: it is for text embeddings {words} wide, and "
            f"the model's are {wanted}"
        )


def check_levels(place: Path, adapter: Mapping[str, Any], unet: Mapping[str, Any]) -> None:
    """Raises UserError where a T2I-Adapter is for another architecture than the model's U-Net; both as their configs
    say."""
    of_xl = adapter.get("adapter_type") == "full_adapter_xl"
    is_xl = unet.get("addition_embed_type") == "text_time"
    widths, wanted = list(adapter.get("channels", ())), list(unet.get("block_out_channels", ()))
    if adapter.get("adapter_type") == "light_adapter":
        widths += widths[-1:]  # it has a level more than it names
    if of_xl != is_xl:
        made, has = ("SDXL" if each else "Stable Diffusion 1 or 2" for each in (of_xl, is_xl))
        raise UserError(f"--t2i-adapter {place} is for {made}, and this model is {has}")
    if widths[: len(wanted)] != wanted:
        raise UserError(f"--t2i-adapter {place} is for a U-Net of widths {widths}, and this model's are {wanted}")


def _wanted(spec: ModelSpec) -> list[tuple[str, Wanted]]:
    """Each with the field that names it, and the variant of its weights."""
    return [
        (field, replace(wanted, variant=only_variant(wanted.folder)) if wanted.alone else wanted)
        for field, wanted in wanted_parts(spec)
    ]


def _check(part: Part) -> None:
    """Raises UserError where its folder holds something else, or its file is damaged."""
    if part.folder.is_file():
        if part.field == "t2i_adapter":
            try:
                adapter_file.config(part.folder)
            except ValueError as error:
                raise UserError(f"--t2i-adapter {part.folder}: {error}") from error
        elif "task_embedding" in header(part.folder):
            raise UserError(f"--controlnet {part.folder} {UNION}")
        return
    file = part.folder / ("model_index.json" if part.field == "refiner" else "config.json")
    holds = read_json(file).get("_class_name")
    if holds == "ControlNetUnionModel":
        raise UserError(f"{PARTS[part.field]} {part.folder} {UNION}")
    if holds != CLASSES[part.field]:
        raise UserError(
            f"{PARTS[part.field]} {part.folder} holds a {shortened(str(holds))}: a {CLASSES[part.field]} is expected"
        )


def assembled(pipeline: Any, further: Sequence[Part], dtype: torch.dtype) -> Any:
    """The pipeline with its ControlNets, T2I-Adapters or motion adapter, in diffusers' own class for them."""
    import diffusers

    from . import controlnet_file

    controlnets, adapters = [], []
    for part in further:
        how: dict[str, Any] = {"dtype": dtype, "variant": part.variant, "local_files_only": True}
        try:
            if part.field == "motion_adapter":
                pipeline = _moved(pipeline, diffusers.MotionAdapter.from_pretrained(part.folder, **how))
            elif part.field == "controlnet":
                network = (
                    controlnet_file.read(part.folder, pipeline.unet, dtype)
                    if part.folder.is_file()
                    else diffusers.ControlNetModel.from_pretrained(part.folder, **how)
                )
                check_words(part, network.config, pipeline.unet.config)
                controlnets.append(network)
            elif part.field == "t2i_adapter":
                network = (
                    adapter_file.read(part.folder, dtype)
                    if part.folder.is_file()
                    else diffusers.T2IAdapter.from_pretrained(part.folder, **how)
                )
                check_levels(part.folder, network.config, pipeline.unet.config)
                adapters.append(network)
        except UserError:
            raise
        except Exception as error:  # a foreign part raises any of a dozen kinds, deep inside
            said = " ".join(str(error).split())[:400]
            raise UserError(f"can't use {PARTS[part.field]} {part.folder}: {type(error).__name__}: {said}") from error
    if controlnets:
        one = controlnets[0] if len(controlnets) == 1 else diffusers.MultiControlNetModel(controlnets)
        pipeline = _controlled(pipeline)(**pipeline.components, controlnet=one)
    if adapters:
        one = adapters[0] if len(adapters) == 1 else diffusers.MultiAdapter(adapters)
        pipeline = _adapted(pipeline)(adapter=one)
    return pipeline


def _moved(pipeline: Any, adapter: Any) -> Any:
    import diffusers

    moving = (diffusers.AnimateDiffPipeline, diffusers.AnimateDiffSDXLPipeline)
    if not isinstance(pipeline, (diffusers.StableDiffusionPipeline, diffusers.StableDiffusionXLPipeline, *moving)):
        raise ValueError(f"it goes with Stable Diffusion, SDXL or AnimateDiff, and this is a {type(pipeline).__name__}")
    if isinstance(pipeline, moving):  # its U-Net has motion layers, of another adapter
        pipeline.unet.load_motion_modules(adapter)
    left_out = ("safety_checker", "motion_adapter")
    kept = {key: each for key, each in pipeline.components.items() if key not in left_out}
    still = getattr(pipeline.unet, "add_embedding", None)
    moved = moving[getattr(pipeline, "text_encoder_2", None) is not None](**kept, motion_adapter=adapter)
    if still is not None and moved.unet.add_embedding is not still:  # diffusers leaves this part of SDXL's at random
        moved.unet.add_embedding.load_state_dict(still.state_dict())
    return moved


def _adapted(pipeline: Any) -> Any:
    import diffusers

    if getattr(pipeline, "text_encoder_2", None) is not None:
        return partial(diffusers.StableDiffusionXLAdapterPipeline, **pipeline.components)
    kept = {key: each for key, each in pipeline.components.items() if key != "image_encoder"}
    return partial(diffusers.StableDiffusionAdapterPipeline, **kept, requires_safety_checker=False)


def _controlled(pipeline: Any) -> Any:
    import diffusers

    if getattr(pipeline, "text_encoder_2", None) is not None:
        return diffusers.StableDiffusionXLControlNetPipeline
    return partial(diffusers.StableDiffusionControlNetPipeline, requires_safety_checker=False)
