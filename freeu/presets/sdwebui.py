"""presets.json of sd-webui-freeu, the FreeU extension of the A1111 web UI: stages by width, every control but two.

Ratios are floats there (an integer is the number of a step), the version is text, and an unknown key is an error.
"""

from __future__ import annotations

from typing import Any

from configs import quoted
from freeu.controls import Controls
from freeu.factors import Factors, Version

from . import jsons
from .preset import Preset, PresetError
from .tool import Tool

TOOL = Tool(
    "the web UI's FreeU extension",
    stages=("width",),
    controls=("start", "stop", "smooth", "offset", "width", "high", "b3", "s3"),
    b=(-1, 3),
    s=(-1, 3),
)
FILE = "presets.json"
PLACE = (
    "`extensions/sd-webui-freeu/presets.json` of the A1111 web UI; with `--out` on the file that is there, the preset "
    "is added to it"
)
STAGE = {"backbone_factor": 1.0, "skip_factor": 1.0, "backbone_offset": 0.0, "backbone_width": 0.5}
STAGE |= {"skip_cutoff": 0.0, "skip_high_end_factor": 1.0}
SCHEDULE = {"start_ratio": 0.0, "stop_ratio": 1.0, "transition_smoothness": 0.0}
VERSIONS: dict[str, Version] = {"1": "v1", "2": "v2"}


def render(preset: Preset) -> str:
    """JSON of one preset by its title.

    Raises:
        PresetError: the extension can't hold these factors.
    """
    return jsons.written({preset.title: fields(preset.factors)})


def merge(preset: Preset, text: str) -> str:
    """The file with the preset added, or put in the place of the one of its title."""
    return jsons.written(jsons.existing(text, "presets.json of the web UI") | {preset.title: fields(preset.factors)})


def fields(factors: Factors) -> dict[str, Any]:
    """What the extension knows of FreeU; of a stage what differs from its default."""
    TOOL.check(factors)
    c, stages = factors.controls, []
    for stage in (1, 2, 3):
        b, s, high = factors.of(stage)
        values = {"backbone_factor": b, "skip_factor": s, "backbone_offset": c.of(stage, "offset")}
        values |= {"backbone_width": c.of(stage, "width"), "skip_high_end_factor": high}
        stages.append({key: value for key, value in values.items() if value != STAGE[key]})
    schedule = {"start_ratio": c.start, "stop_ratio": c.stop, "transition_smoothness": c.smooth}
    return {**schedule, "version": factors.version.removeprefix("v"), "stage_infos": stages}


def parse(text: str) -> dict[str, Preset]:
    """The presets of a presets.json by their names."""
    found = jsons.mapping(text)
    return {name: read(one) for name, one in found.items() if isinstance(one, dict) and "stage_infos" in one}


def read(found: dict[str, Any], model: str = "") -> Preset:
    """The preset that the extension's fields make.

    Raises:
        PresetError, FactorsError: they are malformed, or hold what FreeU here can't do.
    """
    stages = found["stage_infos"]
    if not isinstance(stages, list) or len(stages) > 3 or not all(isinstance(each, dict) for each in stages):
        raise PresetError(f"stage_infos are {quoted(stages)}: expected up to three mappings")
    for key in {key for each in stages for key in each} - set(STAGE):
        raise PresetError(f"stage_infos have {quoted(key)}, which is none of {', '.join(STAGE)}")
    whole = [STAGE | each for each in [*stages, {}, {}, {}][:3]]
    if any(each["skip_cutoff"] != 0 for each in whole):
        raise PresetError(
            "skip_cutoff is set: a share of the spectrum, where FreeU here counts frequencies (threshold)"
        )
    schedule = SCHEDULE | {key: found[key] for key in SCHEDULE if key in found}
    for key in ("start_ratio", "stop_ratio"):
        if isinstance(schedule[key], int):
            raise PresetError(f"{key} is {schedule[key]}, the number of a step: expected a share of the run, as 0.7")
    version = str(found.get("version", "1"))
    if version not in VERSIONS:
        raise PresetError(f'version is {quoted(version)}: expected "1" or "2"')
    (b1, b2, b3), (s1, s2, s3) = ([each[key] for each in whole] for key in ("backbone_factor", "skip_factor"))
    controls = Controls(
        start=schedule["start_ratio"],
        stop=schedule["stop_ratio"],
        smooth=schedule["transition_smoothness"],
        offset=[each["backbone_offset"] for each in whole],  # type: ignore[arg-type]
        width=[each["backbone_width"] for each in whole],  # type: ignore[arg-type]
        high=[each["skip_high_end_factor"] for each in whole],  # type: ignore[arg-type]
        b3=b3,
        s3=s3,
    )
    return Preset(Factors(b1, b2, s1, s2, VERSIONS[version], "width", controls), model)
