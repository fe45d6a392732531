"""What a web UI writes below its images, to paste into its prompt field: the A1111 extension's FreeU settings and
Forge's, with the sampling settings. Read back from those two, Fooocus and SD.Next.

In a PNG the text stands under "parameters", in a JPEG or WebP in the EXIF comment; ComfyUI keeps its workflow under
"prompt".
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs import UserError, parse_json

from . import embedded, fooocus, forge, sdnext, sdwebui, webui
from .preset import Preset, PresetError
from .tool import numbers

FILE = "infotext.txt"
PLACE = (
    "paste it into the prompt field of the A1111 web UI or Forge and press the arrow below *Generate*; version v1 is "
    "read by the A1111 extension alone"
)
SCHEDULERS, SAMPLING = "webui", webui.HELD


def render(preset: Preset) -> str:
    """Two lines. Raises PresetError: neither the extension nor Forge can hold these factors."""
    values = webui.pairs(preset.sampling) | _forge(preset)
    try:
        values |= _stages(sdwebui.fields(preset.factors))
    except PresetError:
        if "freeu_b1" not in values:
            raise
    if preset.model.strip():
        values["Model"] = preset.model
    negative = " ".join((preset.sampling.negative_prompt or "").split())
    line = ", ".join(f"{key}: {webui.quoted_value(value)}" for key, value in values.items())
    return (f"{webui.NEGATIVE} {negative}\n" if negative else "") + line + "\n"


def _forge(preset: Preset) -> dict[str, str]:
    try:
        _, _, _, _, _, start, end = forge.row(preset)
    except PresetError:
        return {}
    found = {"freeu_enabled": True, **numbers(preset, "freeu_"), "freeu_start": start, "freeu_end": end}
    return {key: repr(value) for key, value in found.items()}


def _stages(found: dict[str, Any]) -> dict[str, str]:
    schedule = ", ".join(repr(float(found[key])) for key in sdwebui.SCHEDULE)
    stages = json.dumps(found["stage_infos"])
    return {"FreeU Stages": stages, "FreeU Schedule": schedule, "FreeU Version": found["version"]}


def parse(text: str) -> dict[str, Preset]:
    """The candidate of an infotext; see the module."""
    values = {key: webui.unquoted(value) for line in text.splitlines() for key, value in webui.PAIR.findall(line)}
    preset = _of(values, str(values.get("Model", "")))
    return {"": replace(preset, sampling=webui.taken_of(text)[0].sampling)} if preset is not None else {}


def _of(values: dict[str, str], model: str) -> Preset | None:
    if "FreeU Stages" in values:
        return _extension(values, model)
    if "freeu_b1" in values:
        try:
            names = ("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2")
            factors = [float(values[name]) for name in names]
            factors += [float(values.get("freeu_start", 0)), float(values.get("freeu_end", 1))]
        except (KeyError, ValueError) as error:
            raise PresetError(f"Forge's FreeU settings lack a number: {error}") from error
        return Preset(forge.read(factors).factors, model)
    freeu = values.get("FreeU", "")
    return fooocus.read(freeu, model) if freeu.startswith("(") else sdnext.of_infotext(freeu, model)


def of_image(path: Path) -> str:
    """The text that an image holds, "" where it holds none. Raises UserError where it is no image."""
    return next(iter(embedded.texts(path).values()), "")


def _extension(values: dict[str, str], model: str) -> Preset:
    try:
        stages = parse_json(values["FreeU Stages"], "FreeU Stages")
        schedule = [part.strip() for part in values.get("FreeU Schedule", "0.0, 1.0, 0.0").split(",")]
        # An integer is the number of a step, which sdwebui.read refuses.
        start, stop, smooth = (float(one) if "." in one or "e" in one else int(one) for one in schedule[:3])
    except (UserError, ValueError) as error:
        raise PresetError(f"the settings of the FreeU extension are damaged: {error}") from error
    # Before the extension had versions it was version 1.
    version = schedule[3] if len(schedule) > 3 else values.get("FreeU Version", "1")
    found: dict[str, Any] = {"start_ratio": start, "stop_ratio": stop, "transition_smoothness": smooth}
    return sdwebui.read({**found, "stage_infos": stages, "version": version}, model)
