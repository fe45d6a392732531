"""A base model as a study's settings change it, and the kind of generator that they make of it."""

from __future__ import annotations

from typing import Any

from configs import UserError

from .catalogue import of_name
from .spec import ModelSpec

ONLY: dict[str, tuple[str, ...]] = {
    "frames": ("text-to-video", "image-to-video", "video-to-video"),
    "every": ("video-to-video",),
    "strength": ("image-to-image", "video-to-video"),
}
"""Settings that mean something to these kinds alone."""


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
        like = of_name("rerender" if kind == "video-to-video" else "animatediff")
        fields = ["frames", "every", "strength", "objectives"]
        if kind == "text-to-video":  # trained on a schedule of its own; a ControlNet follows the model's
            fields += ["scheduler", "scheduler_config"]
        found = found.model_copy(update={field: getattr(like, field) for field in fields if field not in given})
    return found.model_copy(update={"kind": kind})
