"""A request for an image to a web UI: from a JSON file as its API takes it, or from an image's infotext."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import UserError, quoted, read_json
from freeu.presets import infotext, webui

PROMPT = "{prompt}"
TAG = re.compile(r"<[^<>:]+:[^<>]+>")
"""What a prompt has beside its words: <lora:name:0.8>."""
NUMBERS = {
    "Steps": ("steps", int),
    "CFG scale": ("cfg_scale", float),
    "Denoising strength": ("denoising_strength", float),
    "Hires upscale": ("hr_scale", float),
    "Hires steps": ("hr_second_pass_steps", int),
}
WORDS = {"Sampler": "sampler_name", "Schedule type": "scheduler", "Hires upscaler": "hr_upscaler"}
OVERRIDES = {"Model": "sd_model_checkpoint", "VAE": "sd_vae"}
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FIXED = {
    **{"n_iter": 1, "batch_size": 1, "save_images": False, "send_images": True},
    "override_settings_restore_afterwards": True,
}


def read(file: Path) -> dict[str, Any]:
    """The request of a file.

    Raises:
        UserError: it can't be read, or holds something else.
    """
    if file.suffix.lower() in PICTURES:
        return of_infotext(infotext.of_image(file), file)
    found = read_json(file)
    if not isinstance(found, dict) or not isinstance(found.get("prompt", ""), str):
        raise UserError(f"{file} is no request of a web UI: expected a JSON object as /sdapi/v1/txt2img takes it")
    if not {"prompt", "steps", "width", "sampler_name", "init_images"} & found.keys():
        raise UserError(f"{file} has neither prompt, steps nor width: is it a request of /sdapi/v1/txt2img?")
    return found


def of_infotext(text: str, file: Path) -> dict[str, Any]:
    """The request that made an image, from the text that web UIs write into it. Raises UserError."""
    values = webui.fields(text)
    if "Steps" not in values:
        raise UserError(f"{file} holds no settings of a web UI: give the image as it was saved, or a JSON request")
    words, negative = webui.prompts(text)
    found: dict[str, Any] = {"prompt": words, "negative_prompt": negative}
    try:
        for key, (name, kind) in NUMBERS.items():
            if key in values:
                found[name] = kind(values[key])
        if "Size" in values:
            width, _, height = values["Size"].partition("x")
            found |= {"width": int(width), "height": int(height)}
        settings: dict[str, Any] = {name: values[key] for key, name in OVERRIDES.items() if key in values}
        if "Clip skip" in values:
            settings["CLIP_stop_at_last_layers"] = int(values["Clip skip"])
    except ValueError as error:
        raise UserError(f"the settings in {file} are damaged: {error}") from error
    found |= {name: values[key] for key, name in WORDS.items() if key in values}
    if "Hires upscale" in values:
        found["enable_hr"] = True
    return found | {"override_settings": settings}


def worded(pattern: str, prompt: str) -> str:
    """A study's prompt in a request's: in place of {prompt}, else before what stands there in <…>."""
    if PROMPT in pattern:
        return pattern.replace(PROMPT, prompt)
    return " ".join([prompt, *TAG.findall(pattern)])


def number(request: Mapping[str, Any], name: str, usual: float) -> float:
    """A number of a request; `usual` is what the web UI takes where it has none. Raises UserError."""
    found = request.get(name, usual)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise UserError(f"{name} of the request is {quoted(found)}: expected a number")
    return found
