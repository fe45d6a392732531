"""The pictures that ControlNets and T2I-Adapters hold images to: of the user's, or the edges of --input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from configs import UserError

from . import inputs
from .spec import ModelSpec

if TYPE_CHECKING:
    import torch

LOW, HIGH = 100, 200
"""Canny's thresholds, those that the ControlNets for edges were made with."""


def weighted(text: str, flag: str = "--controlnet") -> tuple[str, float]:
    """(place, weight) of PLACE or PLACE:0.8. flag: that it was given with.

    Raises:
        UserError: the weight is below 0 or no finite number.
    """
    place, _, note = text.rpartition(":")
    try:
        weight = float(note)
    except ValueError:  # a colon that belongs to the path
        return text, 1.0
    if not place:
        return text, 1.0
    if not 0 <= weight <= 100:
        raise UserError(f"{flag} {text}: a weight such as 0.8 goes behind the colon, 0 to 100")
    return place, weight


def check(spec: ModelSpec) -> None:
    """Whether each ControlNet or T2I-Adapter has its pictures, told before anything loads.

    Raises:
        UserError: it has none, a file is not there, or there are more pictures than networks.
    """
    if not spec.held_by:
        if spec.control or spec.controls:
            raise UserError(
                "control images go with a ControlNet or T2I-Adapter: give one with --controlnet PLACE or --t2i-adapter "
                "PLACE"
            )
        return
    if spec.controlnets and spec.t2i_adapters:
        raise UserError("--controlnet and --t2i-adapter don't go together: leave one out")
    for texts in (spec.control, *spec.controls.values()):
        if len(texts) not in (0, 1, len(spec.held_by)):
            raise UserError(f"{len(texts)} control images for {len(spec.held_by)} {_names(spec)}s: give one for each")
    if not spec.controls:
        places(spec, "")
    for file in files(spec):
        if not file.is_file():
            raise UserError(f"the control image {file}: no such file")
    for text in spec.control:
        inputs.picture(spec.base / text)


def places(spec: ModelSpec, prompt: str) -> tuple[Path, ...]:
    """The pictures of a prompt, one for each network; () where they are the edges of its input.

    Raises:
        UserError: it has neither.
    """
    texts = spec.controls.get(prompt, spec.control)
    if texts:
        return tuple(spec.base / text for text in (texts if texts[1:] else texts * len(spec.held_by)))
    if spec.input is None and prompt not in spec.inputs and not (prompt == "" and spec.inputs):
        raise UserError(
            f"the {_names(spec)} has nothing to hold {repr(prompt) if prompt else 'the images'} to: give --control "
            "FILE or FOLDER, a column 'control' of the prompt set, or --input PICTURE for its edges"
        )
    return ()


def files(spec: ModelSpec) -> list[Path]:
    """Those that the images depend on, beside the inputs."""
    return [spec.base / text for texts in (spec.control, *spec.controls.values()) for text in texts]


def load(spec: ModelSpec, prompt: str, size: tuple[int, int]) -> list[torch.Tensor]:
    """What each network is given for a prompt: float32 (1, 3, H, W) in 0 to 1.

    Raises:
        UserError: a picture is missing or can't be read.
    """
    found = places(spec, prompt)
    if not found:
        return [edges(inputs.load(spec, prompt, size))] * len(spec.held_by)
    return [inputs.fitted(place, size).float() / 255 for place in found]


def read(spec: ModelSpec) -> None:
    """Reads all of them once, so that a damaged one is told before the weights load. Raises UserError."""
    for file in dict.fromkeys(files(spec)):
        inputs.fitted(file, (8, 8))


def edges(frames: torch.Tensor) -> torch.Tensor:
    """Canny's edges of uint8 (n, 3, H, W): float32 (n, 3, H, W), 1 on an edge, else 0."""
    import numpy as np
    import torch

    cv2 = inputs.opencv("to find the edges of the input")
    pixels = np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy())
    found = np.stack([cv2.Canny(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), LOW, HIGH) for each in pixels])
    return (torch.from_numpy(found).float() / 255)[:, None].repeat(1, 3, 1, 1)


def grey(picture: torch.Tensor) -> torch.Tensor:
    """How light float (1, 3, H, W) is: (1, 1, H, W)."""
    import torch

    return (picture * torch.tensor(inputs.LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _names(spec: ModelSpec) -> str:
    return "ControlNet" if spec.controlnets else "T2I-Adapter"


def lines(spec: ModelSpec) -> list[str]:
    """For the plan."""
    if not spec.held_by:
        return []
    nets = ", ".join(f"{Path(place).name} at {weight:g}" for place, weight in map(weighted, spec.held_by))
    own = len(spec.controls)
    images = f"{own} control images" if own else "the control image" if spec.control else "the edges of the input"
    return [f"control     {nets}, over {images}"]
