"""A study's fingerprint: everything that its scores or candidates depend on, so it can't change on resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from configs import UserError
from search.settings import sampling
from search.settings.config import FIELDS
from search.settings.setting import flag_of, setting_of

if TYPE_CHECKING:
    from freeu.models import ModelSpec
    from search.optimizer.space import Space
    from search.settings.config import StudyConfig

FLAGS = {
    "source": "the weights of --model",
    "addons": "--lora, --embedding, --vae, --unet",
    "parts": "--controlnet, --t2i-adapter, --ip-adapter, --motion-adapter, --refiner",
    "input": "--input, --strength, --frames, --every, --control, --mask, --ip-image",
    "prompts": "--limit",
    "prompt_texts": "--prompts, --subject",
    "held_out_texts": "--held-out, or the prompts of --prompts",
    "scorers": "--reference, or the model's scorers",
    "judge_scorers": "--reference, or the model's scorers",
    "space": "--space, --version, --stages",
    "weights": "the weights of --model, --lora, …",
    "numbers": "--dtype (each kind of device has its own default)",
    "scorer_weights": "the scorers' weights",
    "judge_weights": "the judges' weights",
}
"""Key → where it comes from, for those that are not named as a setting."""
DIGESTS = ("input", "prompt_texts", "held_out_texts", "scorers", "judge_scorers")
"""Keys whose value says nothing to a person."""


AS_BEFORE = {"DPM++ 2M": "dpmsolver++", "DDIM": "ddim"}
"""Schedulers as fingerprints have always had them."""
BEFORE_IT: dict[str, Any] = {"sampling": {}}
"""What keys stood for in studies that were begun before there were such settings."""


def fingerprint(
    config: StudyConfig, spec: ModelSpec, space: Space, prompts: Sequence[str], held_out: Sequence[str]
) -> dict[str, Any]:
    """Everything that must stay the same for a study to resume, as plain data.

    The number of trials, the time, the batch size and the device may change, but not what numbers it takes by default:
    that is added where a worker tells it. spec: the model's ModelSpec.
    space: the study's Space.
    """

    def scorers(names: Sequence[str]) -> str:
        read = {name: spec.scorers.get(name) for name in names}
        return digest(json.dumps([read, spec.reference], sort_keys=True, default=str))

    judged = [name for name in config.judges or () if name != "none"]
    return {
        "model": spec.name,
        "source": f"{spec.source}@{spec.revision}" if spec.revision else spec.source,
        "addons": [name for name in (spec.unet, spec.vae, *spec.loras, *spec.embeddings) if name],
        "kind": spec.kind,
        "parts": [name for name in _parts(spec) if name],
        **({"bind": list(spec.bind)} if spec.bind else {}),
        "input": _input(spec),
        "resolution": spec.resolution,
        "scheduler": _scheduler(spec),
        "steps": spec.steps,
        "guidance": spec.guidance,
        "sampling": _sampling(spec, [*prompts, *held_out]),
        "dtype": config.dtype or "default",
        "prompts": len(prompts),
        "prompt_texts": digest("\n".join(prompts)),
        "held_out_texts": digest("\n".join(held_out)),
        "objectives": list(config.objectives or ()),
        "scorers": scorers(config.objectives or ()),
        "judges": judged,
        "judge_scorers": scorers(judged),
        "space": space.as_dict(),
        **{key: getattr(config, key) for key, field in FIELDS.items() if setting_of(field).fingerprint},
    }


def _input(spec: ModelSpec) -> list[Any]:
    """What an image begins from and is held to."""
    pictures: list[Any] = [spec.control, spec.controls, *([spec.mask, spec.masks] if spec.traits.mask else [])]
    pictures += [spec.image_guidance] if spec.traits.picture_guidance else []
    pictures += [spec.ip_image, spec.ip_images] if spec.ip_adapter else []
    held = [digest(json.dumps(pictures, sort_keys=True))] if any(pictures) else []
    of_prompts = digest(json.dumps(spec.inputs, sort_keys=True))
    return [spec.input, of_prompts, spec.strength, spec.frames, spec.every, *held]


def _parts(spec: ModelSpec) -> tuple[str | None, ...]:
    return spec.controlnet, *spec.controlnets, *spec.t2i_adapters, spec.ip_adapter, spec.motion_adapter, spec.refiner


def _scheduler(spec: ModelSpec) -> str:
    """Its name, and what is set otherwise than the pipeline has it."""
    told = spec.scheduler_config | ({"timesteps": spec.timesteps} if spec.timesteps else {})
    changes = json.dumps(told, sort_keys=True, default=str) if told else ""
    return f"{AS_BEFORE.get(spec.scheduler, spec.scheduler)} {changes}".rstrip()


def _sampling(spec: ModelSpec, prompts: Sequence[str]) -> dict[str, Any]:
    """Settings that a model has not unasked; the negative prompts of a prompt set by their content."""
    found = sampling.of_study(spec, prompts)
    if "negatives" in found:
        found["negatives"] = digest(json.dumps(found["negatives"], sort_keys=True))
    return found


def stamp(fingerprint: Mapping[str, Any]) -> str:
    """A short name for a fingerprint."""
    return digest(json.dumps(fingerprint, sort_keys=True))


def digest(text: str) -> str:
    """A short name for a text's content."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_same(study: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that a study's fingerprint has not changed. A setting that there was not yet when the study began had its
    default then; other keys that only one of the two has don't count, but for those that say what was before them.

    Raises:
        UserError: it has; names each difference.
    """
    defaults = {key: field.default for key, field in FIELDS.items() if setting_of(field).fingerprint}
    before = {**defaults, **BEFORE_IT, **before}
    other = [key for key in now if key in before and before[key] != now[key]]
    if "prompts" in other:  # of more prompts there are other texts
        other = [key for key in other if key != "prompt_texts"]
    if other:
        shown = "; ".join(_changed(key, before[key], now[key]) for key in other)
        raise UserError(
            f"study '{study}' was begun with other settings ({shown}): its trials would not compare. Give the "
            "same settings, or another name with --study"
        )


def _changed(key: str, before: Any, now: Any) -> str:
    """As "--limit 24, was 48"; of what a digest stands for, the flags that it comes from."""
    flags = FLAGS.get(key) or (flag_of(key, FIELDS[key]) if key in FIELDS else key)
    if key in DIGESTS:
        return f"{flags}: not the same"
    if isinstance(before, bool):
        return f"{flags} {'on' if now else 'off'}, was {'on' if before else 'off'}"
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        parts = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        return f"{flags}: other {', '.join(parts)}"
    return f"{flags} {_shown(now)}, was {_shown(before)}"


def _shown(value: Any) -> str:
    found = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return found or "none"
