"""Reads what an image tool wrote of an image's settings: out of the image, or of a text or JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from configs import UserError, read_text, shortened
from freeu.factors import Factors
from freeu.sampling import Sampling

from .. import embedded, fooocus, infotext, invokeai, jsons, webui
from ..preset import Preset
from ..sampled import Taken
from . import comfyui

TOOLS = "the web UI, Forge, SD.Next, Fooocus, InvokeAI or ComfyUI"


@dataclass(frozen=True)
class Like:
    """What was taken.

    Attributes:
        tool: that wrote it. sampling: the settings; those that it doesn't tell are None. factors: FreeU's, where it was
            on. model: as the tool names it.
        left_out: what could not be taken, a phrase each.
    """

    tool: str
    sampling: Sampling
    factors: Factors | None = None
    model: str | None = None
    left_out: tuple[str, ...] = ()


def read(path: Path | str) -> Like:
    """The settings of an image, an infotext, a JSON of Fooocus' or InvokeAI's metadata, or a workflow of ComfyUI.

    Raises:
        UserError: it can't be read, or holds no settings.
    """
    path = Path(path)
    for key, text in _texts(path).items():
        found = _of(key, text, str(path))
        if found is not None:
            return found
    raise UserError(
        f"{shortened(str(path))} holds no settings: give an image as {TOOLS} saved it (editors and chats remove the "
        "settings), or its text"
    )


def _texts(path: Path) -> dict[str, str]:
    try:
        with open(path, "rb") as stream:
            start = stream.read(4)
    except (OSError, ValueError) as error:
        raise UserError(f"can't read {shortened(str(path))}: {getattr(error, 'strerror', None) or error}") from error
    if not start.startswith(embedded.IMAGES):
        return {"": read_text(path)}
    found = embedded.texts(path)
    if "invokeai_metadata" in found and "invokeai_graph" in found:  # where FreeU's node is
        found["invokeai_metadata"] = f"[{found['invokeai_metadata']}, {found.pop('invokeai_graph')}]"
    return found


def _of(key: str, text: str, name: str) -> Like | None:
    if not text.lstrip().startswith(("{", "[")):
        taken, values = webui.taken_of(text)
        if not values:
            return None
        tool = "Fooocus" if "Fooocus" in values.get("Version", "") else "the web UI"
        return _like(tool, taken, values.get("Model"), infotext.parse(text))
    metadata = jsons.mapping(text) or jsons.mapping(f'{{"metadata": {text}}}')
    if not metadata:
        raise UserError(f"{shortened(name)}: its settings are damaged: no JSON that can be read")
    graph = metadata
    if "metadata" in metadata:
        parts = metadata["metadata"] if isinstance(metadata["metadata"], list) else [metadata["metadata"]]
        metadata = next((each for each in parts if isinstance(each, dict)), {})
        graph = {"all": parts}
    if "cfg_scale" in metadata:
        model = metadata.get("model")
        shown = model.get("name", model.get("model_name")) if isinstance(model, dict) else None
        presets = invokeai.parse(json.dumps(graph))
        return _like("InvokeAI", invokeai.taken_of(metadata), shown, presets)
    if "guidance_scale" in metadata or "Guidance Scale" in metadata:
        model = metadata.get("base_model", metadata.get("Base Model"))
        return _like("Fooocus", fooocus.taken_of(metadata), model, fooocus.parse(text))
    found = comfyui.taken_of(metadata)
    return None if found is None else _like("ComfyUI", found.taken, found.model, found.presets)


def _like(tool: str, taken: Taken, model: object, presets: dict[str, Preset]) -> Like:
    left = list(taken.left)
    if len(presets) > 1:
        left.append(f"FreeU, which is there {len(presets)} times")
    factors = next(iter(presets.values())).factors if len(presets) == 1 else None
    return Like(tool, taken.sampling, factors, model if isinstance(model, str) and model else None, tuple(left))
