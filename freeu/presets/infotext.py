"""FreeU settings in what a web UI writes below its images: the A1111 extension's, Forge's, Fooocus'. Read only.

The last line has "Key: value" pairs with commas between; a value with a comma in it is quoted as in JSON. In a PNG the
text stands under "parameters", in a JPEG or WebP in the EXIF comment; ComfyUI keeps its workflow under "prompt".
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from configs import UserError, open_image, parse_json

from . import fooocus, forge, sdwebui
from .preset import Preset, PresetError

PAIR = re.compile(r'(\w[\w \-/]{0,99}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
"""A key has an end, or a long prompt would be gone through from each of its letters."""
EXIF, COMMENT = 0x8769, 0x9286


def parse(text: str) -> dict[str, Preset]:
    """The factors of an infotext; see the module."""
    values = {key: _plain(value) for line in text.splitlines() for key, value in PAIR.findall(line)}
    model = str(values.get("Model", ""))
    if "FreeU Stages" in values:
        return {"": _extension(values, model)}
    if "freeu_b1" in values:
        try:
            names = ("freeu_b1", "freeu_b2", "freeu_s1", "freeu_s2")
            numbers = [float(values[name]) for name in names]
            numbers += [float(values.get("freeu_start", 0)), float(values.get("freeu_end", 1))]
        except (KeyError, ValueError) as error:
            raise PresetError(f"Forge's FreeU settings lack a number: {error}") from error
        return {"": Preset(forge.read(numbers).factors, model)}
    return {"": fooocus.read(values["FreeU"], model)} if values.get("FreeU", "").startswith("(") else {}


def of_image(path: Path) -> str:
    """The text that an image holds, "" where it holds none. Raises UserError where it is no image."""
    with open_image(path) as image:
        known = image.info
        comment = image.getexif().get_ifd(EXIF).get(COMMENT, b"")
    texts = [known.get(key) for key in ("parameters", "prompt", "workflow")]
    text = next((one for one in texts if isinstance(one, str) and one), "")
    if not text and isinstance(comment, bytes):
        coding = "utf-16-be" if comment.startswith(b"UNICODE\0") else "utf-8"
        text = comment[8:].decode(coding, "replace")
    return text


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


def _plain(value: str) -> str:
    if value.startswith('"'):
        try:
            return str(parse_json(value, "a quoted value", halves=True))
        except UserError:
            return value
    return value.strip()
