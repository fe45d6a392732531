"""From `--model comfyui:WORKFLOW.json` and `--model webui:REQUEST.json` to a model's spec and its generator.

The spec is made in two steps: of the file's name alone, and then with what file and servers say, when what is wrong is
told before anything is drawn. After that its `bind` names every binding, so that nothing is guessed twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from configs import UserError
from freeu.factors import Stages, Version
from freeu.models.catalogue import of_name
from freeu.models.spec import ModelSpec
from freeu.presets.tool import Tool

from . import comfyui_model, webui_model
from .generator import ServerGenerator

MODELS: dict[str, ModuleType] = {"comfyui": comfyui_model, "webui": webui_model}


def unconnected(source: str) -> ModelSpec:
    """The spec of "KIND:FILE", with the scorers and defaults of Stable Diffusion 1.5; reads and asks nothing."""
    kind, _, file = source.partition(":")
    if not file:
        raise UserError(f"--model {source}: name a file, as {kind}:{MODELS[kind].EXAMPLE}")
    place = Path(file).expanduser()
    own: dict[str, Any] = {"name": place.stem, "kind": kind, "source": str(place.resolve()), "base": Path.cwd()}
    return of_name("sd15").model_copy(update=own | {"published": None, "licence": None, "memory_gb": None})


def connected(spec: ModelSpec) -> ModelSpec:
    """The spec with what its file and servers say: size, steps, guidance, frames, and every binding in `bind`.

    Raises:
        UserError: the file can't be read, bound or run there; no server answers.
    """
    model = MODELS[spec.kind]
    found: ModelSpec = model.connected(spec.model_copy(update={"servers": spec.servers or (model.HOME,)}))
    return found


def explained(spec: ModelSpec) -> list[str]:
    """For the plan: what of a connected spec's file is set, and what is put in."""
    found: list[str] = MODELS[spec.kind].explained(spec)
    return found


def check_settings(spec: ModelSpec, values: Mapping[str, Any]) -> None:
    """Raises UserError where a connected spec's workflow or request has no place for a sampling setting, by name."""
    MODELS[spec.kind].check_settings(spec, values)


def check_method(
    spec: ModelSpec,
    versions: Sequence[Version],
    stages: Sequence[Stages],
    further: Sequence[str],
    ranges: Mapping[str, tuple[float, float]],
) -> None:
    """Raises UserError where a connected spec's FreeU can't do what a study asks for.

    further: names of controls. ranges: by factor, from where to where it is searched.
    """
    tool: Tool = MODELS[spec.kind].tool(spec)
    for flag, wanted, known in (("version", versions, tool.versions), ("stages", stages, tool.stages)):
        wrong = [each for each in wanted if each not in known]
        if wrong:
            raise UserError(f"{tool.name} has --{flag} {' or '.join(known)} alone, and the study asks for {wrong[0]}")
    if more := [name for name in further if name not in tool.controls]:
        raise UserError(f"{tool.name} has no {', '.join(more)}: take it out of the space")
    for name, (low, high) in ranges.items():
        least, most = tool.b if name.startswith("b") else tool.s
        if not least <= low <= high <= most:
            raise UserError(
                f"{tool.name} takes {name} from {least:g} to {most:g}, and the study searches {low:g} to {high:g}: "
                "give narrower ranges with --space FILE"
            )


def load(spec: ModelSpec) -> ServerGenerator:
    """The generator of a connected spec; see `freeu.models.load_generator`."""
    found: ServerGenerator = MODELS[spec.kind].load(spec)
    return found
