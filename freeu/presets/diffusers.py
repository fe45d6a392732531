"""diffusers' own FreeU, as a line of Python: version 1 with stages by block is all that `enable_freeu` knows.

A factor of 0.0 there switches all four off without a word (it tests their truth): such a preset is refused.
"""

from __future__ import annotations

import ast
from typing import Any

from freeu.sampling import Sampling

from .preset import Preset, PresetError
from .sampled import scheduler_of
from .tool import Tool, found

TOOL = Tool("diffusers' enable_freeu", versions=("v1",), stages=("block",), zero=False)
FILE = "diffusers_freeu.py"
PLACE = "beside your script: `from diffusers_freeu import apply; apply(pipe)`; or copy its last line"
SAMPLING = (*("guidance", "guidance_rescale", "steps", "scheduler", "eta", "clip_skip", "negative_prompt", "size"),)
ORDER = ("s1", "s2", "b1", "b2")


def render(preset: Preset) -> str:
    """A Python module with one function, and where settings are known a second one, the call with them.

    Raises:
        PresetError: diffusers would do something else with these factors.
    """
    f = preset.factors
    TOOL.check(f)
    # !a keeps any name on its line of the comment.
    origin = f"study {preset.study!a}, pick {preset.pick!a}" if preset.study else "no study"
    return (
        f"# FreeU factors for {preset.model!a} ({origin}).\n"
        f"{preset.comment}"
        "# For diffusers alone: version 1, stages by block.\n\n\n"
        "def apply(pipe):\n"
        '    """Switches FreeU on; pipe.disable_freeu() switches it off."""\n'
        f"    pipe.enable_freeu(s1={f.s1!r}, s2={f.s2!r}, b1={f.b1!r}, b2={f.b2!r})\n" + _call(preset.sampling)
    )


def _call(s: Sampling) -> str:
    """A function that calls the pipeline; "" where no setting is known."""
    width, height = s.size or (None, None)
    given: dict[str, Any] = {"guidance_scale": s.guidance, "guidance_rescale": s.guidance_rescale or None}
    given |= {"num_inference_steps": s.steps, "eta": s.eta, "negative_prompt": s.negative_prompt}
    given |= {"width": width, "height": height}
    lines = [f"    settings = { ({key: value for key, value in given.items() if value is not None})!a}"]
    if (s.clip_skip or 1) > 1:
        lines += [
            "    # Layers beyond the one that is read unasked: the last, or of SDXL the one before it.",
            f"    skipped = {s.clip_skip} - (2 if getattr(pipe, 'text_encoder_2', None) is not None else 1)",
            "    settings |= {'clip_skip': skipped} if skipped > 0 else {}",
        ]
    if (scheduler := scheduler_of(s)) is not None:
        kind, shape = scheduler.sampler.kind, scheduler.schedule.changes if scheduler.schedule else {}
        changes = {**scheduler.sampler.changes, **shape}
        lines += [
            f"    from diffusers import {kind}\n",
            f"    pipe.scheduler = {kind}.from_config(pipe.scheduler.config, **{changes!a})",
        ]
    if not s.as_dict():
        return ""
    doc = '    """Calls it under the settings that the factors were found at; `more` goes on top of them."""'
    return "\n".join(
        ["\n\ndef call(pipe, prompt, **more):", doc, *lines, "    return pipe(prompt, **settings | more)", ""]
    )


def parse(text: str) -> dict[str, Preset]:
    """The factors of the calls of `enable_freeu` in Python code, which is not run."""
    if "enable_freeu" not in text:
        return {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "enable_freeu"
    ]
    presets = {}
    for call in calls:
        given = dict(zip(ORDER, call.args, strict=False)) | {each.arg: each.value for each in call.keywords if each.arg}
        try:
            values = {name: ast.literal_eval(value) for name, value in given.items()}
        except ValueError as error:
            raise PresetError(f"line {call.lineno}: the factors of enable_freeu are no plain numbers") from error
        presets[f"line {call.lineno}" if len(calls) > 1 else ""] = found(values, "v1", "block")
    return presets
