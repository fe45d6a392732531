"""Sampling settings of the A1111 web UI and Forge: in the text below an image, and in a request to the API.

The names are those of the web UI's modules/processing.py and modules/infotext_utils.py. The text is the prompt, a line
"Negative prompt: …", and a last line of "Key: value" pairs; a value with a comma in it is quoted as in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from configs import UserError, parse_json, shortened
from freeu.sampling import Sampling, size_of

from .sampled import Taken, scheduler_of

PAIR = re.compile(r'(\w[\w \-/]{0,99}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
"""A key has an end, or a long prompt would be gone through from each of its letters."""
NEGATIVE = "Negative prompt:"
HELD = ("guidance", "steps", "scheduler", "eta", "clip_skip", "negative_prompt", "size")
"""All but guidance rescale."""
TAKEN = (
    *("Steps", "Sampler", "Schedule type", "Scheduler", "CFG scale", "Size", "Clip skip", "Eta DDIM", "Model"),
    *("CFG rescale", "FreeU", "FreeU Stages", "FreeU Schedule", "FreeU Version"),
)
ASIDE = (
    *("Seed", "Model hash", "VAE hash", "Version", "User", "Raw prompt", "Raw negative prompt", "Performance", "App"),
    *("Operations", "Refiner hash", "Backend", "Pipeline"),
)
"""What changes no setting, or says again what another key says."""


def pairs(sampling: Sampling) -> dict[str, str]:
    """What the last line has of the settings; a scheduler that the web UI lacks is left out."""
    s, found = sampling, {}
    scheduler = scheduler_of(s)
    names = scheduler.webui if scheduler else None
    if s.steps is not None:
        found["Steps"] = str(s.steps)
    if names is not None:
        found |= {"Sampler": names[0], "Schedule type": names[1]}
    if s.guidance is not None:
        found["CFG scale"] = f"{s.guidance!r}"
    if s.size is not None:
        found["Size"] = f"{s.size[0]}x{s.size[1]}"
    if s.clip_skip is not None:
        found["Clip skip"] = str(s.clip_skip)
    if s.eta is not None:
        found["Eta DDIM"] = f"{s.eta!r}"
    return found


def quoted_value(value: str) -> str:
    """As it stands in a line: quoted where it holds a comma, a colon or a line break."""
    plain = value.isascii() and value.isprintable() and not re.search(r'[,:"]', value) and value.strip() == value
    return value if plain else json.dumps(value)


def request(sampling: Sampling) -> dict[str, Any]:
    """Of the settings, the fields of a request to `/sdapi/v1/txt2img`."""
    s = sampling
    scheduler = scheduler_of(s)
    names = (scheduler.webui if scheduler else None) or (None, None)
    width, height = s.size or (None, None)
    found = {
        "cfg_scale": s.guidance,
        "steps": s.steps,
        "sampler_name": names[0],
        "scheduler": names[1],
        "eta": s.eta,
        "width": width,
        "height": height,
        "negative_prompt": s.negative_prompt,
        "override_settings": None if s.clip_skip is None else {"CLIP_stop_at_last_layers": s.clip_skip},
    }
    return {name: value for name, value in found.items() if value is not None}


def of_request(found: Mapping[str, Any]) -> Sampling:
    """The settings of a request; what is no setting of ours is passed over."""
    taken, over = Taken(), found.get("override_settings")
    for name, key in (("guidance", "cfg_scale"), ("steps", "steps"), ("eta", "eta")):
        taken.take(name, found.get(key))
    taken.take("negative_prompt", found.get("negative_prompt"))
    taken.take("clip_skip", over.get("CLIP_stop_at_last_layers") if isinstance(over, dict) else None)
    if "width" in found and "height" in found:
        taken.take("size", [found["width"], found["height"]])
    taken.schedule(found.get("sampler_name"), found.get("scheduler"))
    return taken.sampling


def fields(text: str) -> dict[str, str]:
    """The pairs of the last line that has three or more; empty where none has."""
    for line in reversed(text.splitlines()):
        found = {key: unquoted(value) for key, value in PAIR.findall(line)}
        if len(found) >= 3 and ("Steps" in found or "CFG scale" in found):
            return found
    return {}


def taken_of(text: str) -> tuple[Taken, dict[str, str]]:
    """The settings of an infotext, and its pairs; none of either where it is no infotext."""
    found, taken = fields(text), Taken()
    if not found:
        return taken, found
    for name, key in (("steps", "Steps"), ("guidance", "CFG scale"), ("clip_skip", "Clip skip"), ("eta", "Eta DDIM")):
        taken.take(name, found.get(key))
    taken.take("guidance_rescale", found.get("CFG rescale"))
    taken.take("negative_prompt", prompts(text)[1])
    if "Size" in found:
        try:
            taken.take("size", size_of(found["Size"]))
        except UserError as error:
            taken.left.append(str(error))
    taken.schedule(found.get("Sampler"), found.get("Schedule type", found.get("Scheduler")))
    taken.left += [
        f"{key}: {shortened(value, 60)}"
        for key, value in found.items()
        if key not in TAKEN and key not in ASIDE and not key.startswith("freeu_")
    ]
    return taken, found


def prompts(text: str) -> tuple[str, str]:
    """(prompt, negative prompt): what stands before and behind "Negative prompt:", without the last line."""
    words: list[str] = []
    negative: list[str] = []
    for line in text.strip().splitlines()[:-1]:
        line = line.strip()
        if line.startswith(NEGATIVE):
            negative = [line.removeprefix(NEGATIVE).strip()]
        else:
            (negative or words).append(line)
    return "\n".join(words), "\n".join(negative)


def unquoted(value: str) -> str:
    """A value as it was before it was quoted."""
    if value.startswith('"'):
        try:
            return str(parse_json(value, "a quoted value", halves=True))
        except UserError:
            return value
    return value.strip()
