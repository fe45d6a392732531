"""Fooocus' metadata: version 2 by width, as a tuple in text; with the sampling settings, by the keys of its
modules/meta_parser.py."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from configs import quoted, shortened
from freeu.sampling import Sampling

from . import jsons
from .preset import Preset, PresetError
from .sampled import Taken, scheduler_of
from .tool import NUMBERS, Tool, found, numbers

TOOL = Tool("Fooocus' FreeU", versions=("v2",), stages=("width",), b=(0, 2), s=(0, 4))
FILE = "fooocus.json"
PLACE = "paste it into the prompt field of Fooocus and press *Load Parameters*; FreeU is under *Developer Debug Mode*"


SCHEDULERS = "comfyui"
SAMPLING = ("guidance", "steps", "scheduler", "clip_skip", "negative_prompt", "size")
KEYS = {"guidance": "guidance_scale", "steps": "steps", "clip_skip": "clip_skip"}
LABELS = {"guidance_scale": "Guidance Scale", "steps": "Steps", "clip_skip": "CLIP Skip", "resolution": "Resolution"}
LABELS |= {"sampler": "Sampler", "scheduler": "Scheduler", "base_model": "Base Model", "freeu": "FreeU"}
LABELS |= {"negative_prompt": "Negative Prompt"}
"""How older versions, and its log, call the same."""
ACTING = ("sharpness", "adm_guidance", "adaptive_cfg", "refiner_model", "loras", "styles", "vae")
"""What changes an image and has no setting here."""


def render(preset: Preset) -> str:
    """JSON with the key `freeu`, and those of the settings. Raises PresetError: Fooocus can't hold these factors."""
    TOOL.check(preset.factors)
    return jsons.written({"freeu": repr(tuple(numbers(preset).values())), **_written(preset.sampling)})


def parse(text: str) -> dict[str, Preset]:
    """The factors of Fooocus' metadata."""
    metadata = jsons.mapping(text)
    value = metadata.get("freeu", metadata.get(LABELS["freeu"]))
    model = metadata.get("base_model")
    preset = read(value, model if isinstance(model, str) else "") if isinstance(value, str) else None
    return {} if preset is None else {"": replace(preset, sampling=taken_of(metadata).sampling)}


def taken_of(metadata: Mapping[str, Any]) -> Taken:
    """The settings of Fooocus' metadata."""
    taken = Taken()
    found = {key: metadata.get(key, metadata.get(label)) for key, label in LABELS.items()}
    for name, key in KEYS.items():
        taken.take(name, found[key])
    negative = metadata.get("full_negative_prompt", found["negative_prompt"])  # with what the styles add
    if isinstance(negative, list):
        negative = ", ".join(str(each) for each in negative)
    taken.take("negative_prompt", negative)
    if found["resolution"] is not None:
        taken.take("size", _tuple(found["resolution"]))
    taken.schedule(found["sampler"], found["scheduler"])
    for key in ACTING:
        if metadata.get(key) not in (None, "", "None", [], "[]"):
            taken.left.append(f"{key}: {shortened(str(metadata[key]), 60)}")
    return taken


def _written(s: Sampling) -> dict[str, Any]:
    found: dict[str, Any] = {key: getattr(s, name) for name, key in KEYS.items()}
    scheduler = scheduler_of(s)
    names = scheduler.comfyui if scheduler else None
    found["sampler"], found["scheduler"] = names or (None, None)
    found["negative_prompt"] = s.negative_prompt
    found["resolution"] = None if s.size is None else repr(s.size)
    return {key: value for key, value in found.items() if value is not None}


def _tuple(value: Any) -> Any:
    """Of "(832, 1216)" or "('832', '1216')"."""
    try:
        found = ast.literal_eval(value) if isinstance(value, str) else value
        return [int(each) for each in found]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return value


def read(value: str, model: str = "") -> Preset:
    """The preset of "(b1, b2, s1, s2)"."""
    try:
        numbers = ast.literal_eval(value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        numbers = None
    if not isinstance(numbers, tuple) or len(numbers) != 4:
        raise PresetError(f"freeu is {quoted(value)}: expected (b1, b2, s1, s2)")
    return found(dict(zip(NUMBERS, numbers, strict=True)), "v2", "width", model)
