"""Resolves the base model, the prompts and the objectives that the settings name, without weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError
from search.settings import pictures, prompts, sampling, served

if TYPE_CHECKING:
    from configs.prompt_files import Prompt
    from freeu.models import ModelSpec
    from metrics.registry import MetricInfo
    from search.settings.config import StudyConfig


def resolve(config: StudyConfig) -> tuple[ModelSpec, str, tuple[Prompt, ...]]:
    """The base model as the settings change it, the prompt set's name, and its prompts; checked, without weights."""
    from freeu.models import addon_fits, changed, control, fits, inputs, ip_adapter, load_spec
    from freeu.models.addons import addons
    from metrics.reference_kinds import parse
    from search.storage.mlflow_location import check_folder

    check_folder(config.mlruns, config.tracking_uri)
    loaded = load_spec(config.model)
    served.check(loaded, config.model, [name for name, value in config if value not in (None, (), False)])
    given = _given(loaded, config)
    addons(loaded.model_copy(update=given))  # files that are not there are told before anything loads
    chosen = config.prompts or loaded.prompts
    negative = sampling.negatives(config.negative_prompt)
    prompt_set = prompts.load(chosen, config.subject, negative if isinstance(negative, list) else None)
    given["negatives"] = {prompt.text: prompt.negative for prompt in prompt_set if prompt.negative is not None}
    if asked := {prompt.text: list(prompt.questions) for prompt in prompt_set if prompt.questions}:
        given["scorers"] = {**loaded.scorers, "questions": {**loaded.scorers.get("questions", {}), "asked": asked}}
    if isinstance(negative, str):
        given["negative_prompt"] = negative
    given |= pictures.of_prompts(loaded.traits, prompt_set) | pictures.held_to(config.control, prompt_set)
    if config.reference:
        given["reference"] = parse(config.reference)
    spec = changed(loaded, given)
    inputs.check(spec)
    inputs.check_masks(spec)
    control.check(spec)
    ip_adapter.check(spec)
    fits.check_sampling_early(spec)
    addon_fits.check_early(spec)
    settings = {name: given[name] for name in (*sampling.FIELDS, "size", "sizes", "negative_prompt") if name in given}
    return served.connected(spec, config.servers, config.bind, settings), chosen, prompt_set


def objectives(names: Sequence[str]) -> list[MetricInfo]:
    """What is known of them. Raises UserError for a metric that has no better direction, and for names that clash."""
    from metrics import registry

    found = registry.describe_all(names)
    for name, info in zip(names, found, strict=True):
        if info.direction == "none":
            raise UserError(f"{name} is a guardrail, which has no better direction: it is no objective (--guardrails)")
    return found


def _given(spec: ModelSpec, config: StudyConfig) -> dict[str, Any]:
    """What the settings put on the spec; their paths start from the working directory."""
    from freeu.models.control import weighted as split
    from freeu.models.spec import HUB_ID

    def own(place: str) -> str:
        return str(Path.cwd() / Path(place).expanduser())

    def here(place: str) -> str:
        return place if HUB_ID.fullmatch(place) and not Path(own(place)).exists() else own(place)

    given: dict[str, Any] = {
        "loras": (*spec.loras, *(str(Path.cwd() / text) for text in config.loras)),
        "embeddings": (*spec.embeddings, *(str(Path.cwd() / text) for text in config.embeddings)),
    }

    def weighted(text: str, flag: str) -> str:
        place, weight = split(text, flag)
        return here(place) + (f":{weight:g}" if weight != 1 else "")

    if config.controlnet:
        given["controlnets"] = tuple(weighted(text, "--controlnet") for text in config.controlnet)
    if config.t2i_adapter:
        given["t2i_adapters"] = tuple(weighted(text, "--t2i-adapter") for text in config.t2i_adapter)
    if config.ip_adapter:
        given["ip_adapter"] = weighted(config.ip_adapter, "--ip-adapter")
    networks, pictures = ("vae", "unet", "motion_adapter", "refiner"), ("input", "mask", "ip_image")
    given |= {field: here(place) for field in networks if (place := getattr(config, field))}
    given |= {field: own(place) for field in pictures if (place := getattr(config, field))}
    given |= {field: value for field in ("strength", "frames", "every") if (value := getattr(config, field))}
    given |= sampling.given(config) | ({"pag_layers": config.pag_layers} if config.pag_layers else {})
    if config.pipeline_config:
        given["config"] = here(config.pipeline_config)
    return given
