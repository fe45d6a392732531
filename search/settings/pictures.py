"""The pictures that a prompt set brings: what images begin from, masks, what an IP-Adapter reads, control images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError
from configs.image_folders import images_in

if TYPE_CHECKING:
    from configs.prompt_files import Prompt
    from freeu.models.kinds import Traits

FIELDS = {"inputs": "image", "masks": "mask", "ip_images": "ip_image"}
"""Of the model's spec, and the field of `Prompt` that it comes from."""


def of_prompts(traits: Traits, prompt_set: Sequence[Prompt]) -> dict[str, Any]:
    """What a model's spec has by prompt. traits: of the model's kind."""
    found = {
        field: {prompt.text: place for prompt in prompt_set if (place := getattr(prompt, name)) is not None}
        for field, name in FIELDS.items()
    }
    if not traits.by_prompt:
        del found["inputs"]
    return {field: places for field, places in found.items() if places or field == "inputs"}


def held_to(control: Sequence[str], prompt_set: Sequence[Prompt]) -> dict[str, Any]:
    """`control` and `controls` of the model's spec: of --control one for all or a folder of one for each, else the
    prompt set's own. control: of --control, the i-th for the i-th ControlNet.

    Raises:
        UserError: there is no such place, or a folder has another number of pictures than there are prompts.
    """
    if not control:
        own = {prompt.text: (prompt.control,) for prompt in prompt_set if prompt.control is not None}
        if own and len(own) < len(prompt_set):
            bare = next(prompt.text for prompt in prompt_set if prompt.control is None)
            raise UserError(f"the prompt {bare!r} has no control image, and others have: fill its column 'control'")
        return {"controls": own} if own else {}
    places = [Path.cwd() / Path(text).expanduser() for text in control]
    if not any(place.is_dir() for place in places):
        return {"control": tuple(map(str, places))}
    of_each = zip(*(_in_turn(place, len(prompt_set)) for place in places), strict=True)
    return {"controls": {prompt.text: files for prompt, files in zip(prompt_set, of_each, strict=True)}}


def _in_turn(place: Path, n: int) -> list[str]:
    """The pictures of n prompts, in order."""
    if not place.is_dir():
        return [str(place)] * n
    found = images_in(place, deep=False)
    if len(found) != n:
        raise UserError(
            f"--control {place} holds {len(found)} pictures for {n} prompts: give one for each, in the prompts' order, "
            "or name them in a column 'control' of the prompt set"
        )
    return [str(file) for file in found]
