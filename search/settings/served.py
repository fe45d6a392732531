"""What is special about a study whose images a running server draws: settings that can't be, and what the plan says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from configs import UserError
from search.storage.addresses import hidden

if TYPE_CHECKING:
    from freeu.models import ModelSpec
    from search.optimizer.space import Space

THERE = (
    *(
        "loras",
        "embeddings",
        "vae",
        "unet",
        "controlnet",
        "t2i_adapter",
        "control",
        "motion_adapter",
        "refiner",
        "input",
        "mask",
        "ip_adapter",
        "ip_image",
        "pag_scale",
        "pag_layers",
        "strength",
        "frames",
    ),
    *("every", "pipeline_config", "dtype", "vae_dtype", "slicing", "offload", "compile", "cuda_graphs"),
)
"""Settings that the workflow or the server decides."""


def is_served(spec: ModelSpec) -> bool:
    """Whether a server draws it."""
    return spec.traits.drawn == "server"


def check(spec: ModelSpec, model: str, given: Collection[str]) -> None:
    """Raises UserError for settings that mean nothing to this model: a server's, or one of this machine.

    model: as it was asked for. given: the names of the settings that are.
    """
    from search.settings.config import FIELDS
    from search.settings.setting import flag_of

    wrong = THERE if is_served(spec) else ("servers", "bind")
    for name in wrong:
        if name in given:
            why = "its workflow or its server has that" if is_served(spec) else "it goes with --model comfyui:FILE"
            raise UserError(f"{flag_of(name, FIELDS[name])} means nothing to --model {model}: {why}")


def connected(spec: ModelSpec, servers: tuple[str, ...], bind: tuple[str, ...], given: Mapping[str, Any]) -> ModelSpec:
    """The spec with what the servers say, and with the sampling settings that are given; another model's as it is.

    Raises:
        UserError: a server is not there, or can't be set so.
    """
    if not is_served(spec):
        return spec
    from freeu.models.spec import side_of
    from freeu.servers.opening import check_settings
    from freeu.servers.opening import connected as connect

    found = connect(spec.model_copy(update={"servers": servers or spec.servers, "bind": bind or spec.bind}))
    check_settings(found, {name: value for name, value in given.items() if name != "sizes"})
    if spec.negatives:
        raise UserError("a server has one negative prompt for all prompts: leave out those of the prompt set")
    if "size" in given:
        given = {**given, "resolution": side_of(*(given.get("sizes") or (given["size"],)))}
    return found.model_copy(update=given)


def check_space(spec: ModelSpec, space: Space) -> None:
    """Raises UserError where the server's FreeU can't do what is searched."""
    if not is_served(spec):
        return
    from freeu.factors import CONVENTIONS, VERSIONS
    from freeu.servers.opening import check_method

    searched = [each.name for each in space.dimensions]
    four = ("b1", "b2", "s1", "s2", "version", "stages")
    check_method(
        spec,
        [each for each in VERSIONS if "version" in searched or space.fixed.get("version") == each],
        [each for each in CONVENTIONS if "stages" in searched or space.fixed.get("stages") == each],
        [name for name in (*searched, *space.fixed) if name not in four],
        {each.name: (each.low, each.high) for each in space.dimensions if each.name in four[:4]},
    )


def place(spec: ModelSpec, device: str) -> str:
    """Where images are made, for the plan. device: of this machine."""
    if not is_served(spec):
        return device
    return f"drawn by {', '.join(map(hidden, spec.servers))}, scored on {device}"


def lines(spec: ModelSpec) -> list[str]:
    """For the plan: what of the workflow is set."""
    if not is_served(spec):
        return []
    from freeu.servers.opening import explained

    first, *more = explained(spec)
    return [f"bound       {first}", *(f"            {each}" for each in more)]
