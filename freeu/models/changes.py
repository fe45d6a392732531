"""A base model as a study's settings change it, and the kind of generator that they make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from configs import UserError
from freeu.sampling import NAMES, Sampling

from . import few_steps
from .catalogue import of_name
from .control import weighted
from .inputs import is_video
from .kinds import KINDS, Traits
from .locate import locate_config
from .lookup import BRINGS_ITS_OWN, from_file, from_folder, scheduler_of
from .noising import noising
from .spec import PARTS, ModelSpec

ONLY: dict[str, Callable[[Traits], bool]] = {
    "frames": lambda of: of.video,
    "every": lambda of: of.begins == "video",
    "strength": lambda of: of.strength,
    "negative_prompt": lambda of: of.words,
    "clip_skip": lambda of: of.words,
    "pag_scale": lambda of: of.perturbed or of.drawn == "own",
    "pag_layers": lambda of: of.perturbed,
}
"""Settings that mean something to some kinds alone."""
SAMPLED = (*NAMES, "sizes")
UNASKED = ("dpmsolver++", "ddim", "edm", "default")
"""Schedulers as models' YAMLs write them; one that a study asks for is written as it is shown, as "DPM++ 2M"."""


def changed(spec: ModelSpec, given: dict[str, Any]) -> ModelSpec:
    """The spec with other values in some fields, and the kind that they make of it: Stable Diffusion with a picture
    to begin from is image to image, with a mask inpainting, with a motion adapter text to video, with a ControlNet
    video to video.

    Raises:
        UserError: the model can do nothing with one of them.
    """
    sampling = Sampling.from_dict({name: given[name] for name in NAMES if given.get(name) is not None})
    found = spec.model_copy(update={field: value for field, value in given.items() if field not in SAMPLED})
    kind = spec.kind
    if found.controlnets and (spec.traits.begins == "video" or (found.input and is_video(found.base / found.input))):
        (one, weight), *others = map(weighted, found.controlnets)
        if others or weight != 1:
            raise UserError("a video is redrawn with one --controlnet, of weight 1")
        found = found.model_copy(update={"controlnet": one, "controlnets": ()})
    if found.held_by:
        if not spec.traits.networks or found.motion_adapter or found.refiner:
            flag = PARTS["controlnet" if found.controlnets else "t2i_adapter"]
            raise UserError(f"{flag} goes with text to image: leave out --motion-adapter and --refiner")
    else:
        kind = next((other for field, other in spec.traits.becomes.items() if getattr(found, field)), kind)
    traits = KINDS[kind]
    if found.input and not found.held_by and traits.begins is None:
        raise UserError(f"--input {found.input}: {spec.name} is {kind} and begins from no picture")
    still = traits.begins == "picture" and not traits.mask and not traits.video
    if still and not (found.input or found.inputs):
        raise UserError(
            f"--model {spec.name} makes pictures of pictures: give one with --input FILE, or several with "
            "--prompts FOLDER"
        )
    for field, means in ONLY.items():
        if given.get(field) is not None and not means(traits):
            raise UserError(
                f"--{field.replace('_', '-')} {given[field]}: {spec.name} is {kind}, for which it means nothing"
            )
    if found.refiner and not traits.networks:
        raise UserError(f"--refiner goes with text to image, and this is {kind}")
    if kind != spec.kind and traits.example is not None:
        like = of_name(traits.example)
        fields = ["frames", "every", "strength", "objectives"]
        if traits.temporal:  # trained on a schedule of its own; a ControlNet follows the model's
            fields += ["scheduler", "scheduler_config"]
        found = found.model_copy(update={field: getattr(like, field) for field in fields if field not in given})
    if kind != spec.kind and traits.mask and "strength" not in given:
        found = found.model_copy(update={"strength": 1.0})
    found = found.model_copy(update={"kind": kind}).sampled(sampling).dealing(given.get("sizes", ()))
    if found.refiner and found.pag_scale > 0:
        raise UserError("--pag-scale does not go with --refiner: leave one out")
    found = few_steps.of_changes(spec, found, given)
    if "config" not in given:
        return as_trained(found)
    if not spec.folder.is_file():
        raise UserError(f"--pipeline-config {found.config}: it says how a single file is laid out; {spec.name} is none")
    layout = locate_config(found)
    if spec == from_file(spec.folder) and "resolution" not in given:  # of a YAML that names a file, what it says holds
        found = found.model_copy(update={"resolution": from_folder(layout, spec.name).resolution})
    return as_trained(found, layout)


def as_trained(spec: ModelSpec, layout: Path | None = None) -> ModelSpec:
    """The spec with the scheduler that another U-Net was trained for, as its file says; and for a single file with that
    of `layout`, the folder that says how it is laid out, where no other can stand in for it. One that was asked for
    stays."""
    if spec.unet and (spec.base / spec.unet).is_file():
        scheduler, changes = noising(spec.base / spec.unet)
        asked = scheduler is not None and spec.scheduler in UNASKED
        kept = {} if scheduler else spec.scheduler_config
        spec = spec.model_copy(
            update={"scheduler": scheduler if asked else spec.scheduler, "scheduler_config": {**kept, **changes}}
        )
    if layout is not None and spec.folder.is_file() and spec.scheduler in UNASKED:
        own = scheduler_of(layout)
        if own.startswith(BRINGS_ITS_OWN if spec.scheduler != "edm" else "EDM"):
            return spec.model_copy(update={"scheduler": "default"})
    return spec
