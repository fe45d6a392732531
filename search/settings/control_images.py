"""Which control image a prompt has: of --control one for all or a folder of one for each, else the prompt set's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError
from configs.image_folders import images_in

if TYPE_CHECKING:
    from configs.prompt_files import Prompt


def of_prompts(control: Sequence[str], prompt_set: Sequence[Prompt]) -> dict[str, Any]:
    """`control` and `controls` of the model's spec. control: of --control, the i-th for the i-th ControlNet.

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
