"""Models distilled to a few steps: which one a file is, and the sampling settings that it needs.

Told by a file's own title, then by its name, then by its layers: those that distil a U-Net train its time embedding
too, and leave the text encoders alone (diffusers, examples/consistency_distillation/train_lcm_distill_lora_sdxl.py, and
DMD2's). Words that mean other things too, as "hyper" in the name of a LoRA for detail, count only together with such
layers, or for a whole model. Where nothing tells, steps and guidance that no other model is run with do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs import UserError
from freeu.sampler_table import DEFAULT, OF_EDM
from freeu.schedulers import named

from .few_step_table import BY_LAYERS, BY_SETTINGS, FAMILIES, GUIDED, MOST_GUIDANCE, MOST_STEPS, Family
from .identity import read_json
from .single import header
from .spec import ModelSpec

TITLES = ("modelspec.title", "ss_output_name", "name", "title")
"""In a file's metadata, what it calls itself."""
TIME_LAYERS = ("time_emb_proj", "emb_layers_1", "emb_layers.1")
OF_TEXT = ("lora_te", "text_encoder")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
STEPS = re.compile(r"(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])")


@dataclass(frozen=True)
class Found:
    """A few-step model.

    what: the flag and file that it was told by. how: by what of that. whole: it is the model itself, whose pipeline may
    bring a scheduler that none can stand in for.
    """

    family: Family
    what: str
    how: str
    whole: bool = False

    def set_on(self, spec: ModelSpec, given: Mapping[str, Any]) -> ModelSpec:
        """The spec under the family's settings; those in `given` stay."""
        family = self.family
        changes = {name: getattr(family, name) for name in ("steps", "guidance", "eta") if given.get(name) is None}
        if given.get("scheduler") is None and not (self.whole and spec.scheduler == DEFAULT):
            changes |= {"scheduler": family.scheduler}
        spec = spec.model_copy(update={key: value for key, value in changes.items() if value is not None})
        if _sampler(spec) != named(family.scheduler).sampler.name:  # another, which was asked for
            return spec.model_copy(update={"eta": given.get("eta")})
        config = {**spec.scheduler_config, **family.config}
        return spec.model_copy(update={"scheduler_config": config, "timesteps": family.timesteps})

    @property
    def settings(self) -> str:
        """In words."""
        family = self.family
        eta = f", eta {family.eta:g}" if family.eta is not None else ""
        steps = f"{family.steps} step{'s' if family.steps > 1 else ''}"
        steps += f" from timestep {family.timesteps[0]}" if family.timesteps else ""
        return f"{family.scheduler}, {steps}, guidance {family.guidance:g}{eta}"

    def wrong(self, spec: ModelSpec) -> list[str]:
        """The flags that would put right what is known not to go with it."""
        family, flags = self.family, []
        sampler = _sampler(spec)
        if sampler is not None and not _fits(family, spec, sampler):
            flags.append(f"--scheduler {_quoted(family.scheduler)}")
        if spec.guidance > family.most:
            flags.append(f"--guidance {family.guidance:g}")
        if spec.steps > max(MOST_STEPS, 2 * family.steps):
            flags.append(f"--steps {family.steps}")
        return flags


def of_changes(spec: ModelSpec, found: ModelSpec, given: Mapping[str, Any]) -> ModelSpec:
    """`found`, which is `spec` under the settings in `given`, as a few-step model that they make of it needs.

    What a YAML says of its own model holds.
    """
    if not _known(found) or spec.scheduler == OF_EDM:
        return found
    own = (spec.base / f"{spec.name}.yaml").is_file()
    new = {"loras": found.loras[len(spec.loras) :], "unet": given.get("unet")}
    asked = found.model_copy(update={"loras": new["loras"], "unet": new["unet"]})
    told = recognised(asked, whole=not own)
    if told is not None:
        return told.set_on(found, given)
    of_his = bool(asked.loras or asked.unet) or not own
    steps, guidance = given.get("steps"), given.get("guidance")
    unasked = given.get("scheduler") is None and _sampler(found) in ("DPM++ 2M", "DDIM")
    if of_his and unasked and steps is not None and guidance is not None and _few(steps, guidance):
        return found.model_copy(update={"scheduler": BY_SETTINGS.scheduler})
    return found


def _known(spec: ModelSpec) -> bool:
    """Whether there are few-step models of its kind: of those that draw one image, or frame, by itself."""
    return spec.traits.here and not spec.traits.temporal


def recognised(spec: ModelSpec, whole: bool = True) -> Found | None:
    """The few-step model that a spec holds: the first of its LoRAs, its --unet, or where `whole` itself."""
    for text in spec.loras:
        if (found := _of_lora(spec.base / _file(spec, text))) is not None:
            return found
    if spec.unet is not None and (found := _of_network("--unet", spec.base / spec.unet)) is not None:
        return found
    return _of_network("--model", spec.folder) if whole else None


def lines(spec: ModelSpec) -> list[str]:
    """For the plan: what was told, and what of the settings is known to be wrong."""
    if not _known(spec):
        return []
    found = recognised(spec)
    if found is None and _few(spec.steps, spec.guidance) and spec.scheduler == BY_SETTINGS.scheduler:
        found = Found(BY_SETTINGS, "the model", "by its steps and guidance")
    if found is None:
        return []
    said = f"few steps   {found.what} is {found.family.name} ({found.how}): {found.settings}; {found.family.source}"
    if not (flags := found.wrong(spec)):
        return [said]
    return [said, f"warning     {found.what} does not go with these settings: give {' '.join(flags)}"]


def _of_lora(file: Path) -> Found | None:
    if file.suffix != ".safetensors" or not file.is_file():
        return _named("--lora", file.name, [file.stem], trained=False)
    try:
        found = header(file)
    except UserError:  # told where it is read
        return None
    metadata = found.get("__metadata__") or {}
    keys = [key for key in found if key != "__metadata__"]
    trained = any(mark in key for key in keys for mark in TIME_LAYERS)
    trained = trained and not any(key.startswith(OF_TEXT) for key in keys)
    titles = [str(metadata[key]) for key in TITLES if metadata.get(key)]
    told = _named("--lora", file.name, [*titles, file.stem], trained)
    if told is None and trained and not any(key.startswith("ss_") for key in metadata):  # a LoCon's layers are the same
        return Found(BY_LAYERS, f"--lora {file.name}", "by its layers")
    return told


def _of_network(flag: str, place: Path) -> Found | None:
    """Of a whole model, or a U-Net: a file, a folder or a hub id."""
    guided = Found(GUIDED, f"{flag} {place.name}", "by its config", whole=flag == "--model")
    config = next((each for each in (place / "unet/config.json", place / "config.json") if each.is_file()), None)
    if config is not None and read_json(config).get("time_cond_proj_dim") is not None:
        return guided
    titles: list[str] = []
    if place.suffix == ".safetensors" and place.is_file():
        metadata = header(place).get("__metadata__") or {}
        titles = [str(metadata[key]) for key in TITLES if metadata.get(key)]
    name = place.stem if place.suffix in (".safetensors", ".bin") else place.name
    told = _named(flag, place.name, [*titles, name], trained=True)
    on_hub = told is not None and told.family.name == "LCM" and not place.exists()
    return replace(guided, how="by its name") if on_hub else told  # merged ones are given out as files


def _named(flag: str, what: str, names: list[str], trained: bool) -> Found | None:
    """By the first name that tells. trained: whether the layers are those of a few-step model, or it is whole."""
    spelt = [CAMEL.sub("-", name).lower() for name in names]
    for name, family in ((name, family) for name in spelt for family in FAMILIES):
        weak = rf"((?<![a-z])|xl){family.weak}"
        if re.search(family.strong, name) or (trained and re.search(weak, name)):
            how = "by its name" if name == spelt[-1] else "by its metadata"
            return Found(_with_steps(family, name), f"{flag} {what}", how, whole=flag == "--model")
    return None


def _with_steps(family: Family, name: str) -> Family:
    match = STEPS.search(name)
    return replace(family, steps=int(match[1])) if match and 1 <= int(match[1]) <= 16 else family


def _file(spec: ModelSpec, text: str) -> str:
    """A LoRA's place, without its weight."""
    return text if (spec.base / text).exists() else text.rpartition(":")[0] or text


def _few(steps: int, guidance: float) -> bool:
    return steps <= MOST_STEPS and guidance <= MOST_GUIDANCE


def _sampler(spec: ModelSpec) -> str | None:
    """The name of its sampler; None for the pipeline's own."""
    return named(spec.scheduler).sampler.name if spec.scheduler != DEFAULT else None


def _fits(family: Family, spec: ModelSpec, sampler: str) -> bool:
    """Whether it is run with this sampler; where that is in even steps, spaced trailing."""
    own = named(family.scheduler)
    if sampler not in (own.sampler.name, *family.also):
        return False
    if own.schedule is None or sampler in ("LCM", "TCD") or sampler.endswith("SDE"):
        return True
    schedule = named(spec.scheduler).schedule
    spaced = schedule.changes if schedule is not None else spec.scheduler_config
    return spaced.get("timestep_spacing") == "trailing"


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name
