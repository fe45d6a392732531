"""The sampling settings that a study is given, put onto the base model, and what is kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError, read_text

if TYPE_CHECKING:
    from freeu.models import ModelSpec
    from freeu.presets.like import Like
    from search.optimizer.space import Space
    from search.settings.config import StudyConfig

FIELDS = ("steps", "guidance", "guidance_rescale", "pag_scale", "eta", "clip_skip", "scheduler")
"""Of `StudyConfig`, each as in `freeu.sampling.Sampling`; sizes and negative prompts may be several."""


def given(config: StudyConfig) -> dict[str, Any]:
    """Those that are set, by the field of `ModelSpec`."""
    found = {name: value for name in FIELDS if (value := getattr(config, name)) is not None}
    sizes = {"size": config.size[0], "sizes": config.size if config.size[1:] else ()} if config.size else {}
    return found | sizes


def alike(config: StudyConfig) -> tuple[StudyConfig, Like | None]:
    """The settings with those of --like where none are given, and what was taken of it.

    Raises:
        UserError: it can't be read, or holds no settings.
    """
    if config.like is None:
        return config, None
    from freeu.presets.like import read

    like = read(Path(config.like).expanduser())
    values = {name: getattr(like.sampling, name) for name in like.sampling.as_dict()}
    if _is_file(values.get("negative_prompt", "")):  # words here, which would be read as a file's name
        del values["negative_prompt"]
        like = replace(like, left_out=(*like.left_out, "a negative prompt that is the name of a file"))
    if "size" in values:
        values["size"] = (values["size"],)
    new = {name: value for name, value in values.items() if getattr(config, name) in (None, ())}
    return config.model_copy(update=new), like


def check_space(spec: ModelSpec, space: Space) -> None:
    """Raises UserError where eta is searched, and none of the schedulers takes one; or PAG's scale, and it is none."""
    from freeu.models import fits
    from freeu.schedulers import DEFAULT, canonical, takes_eta

    searched = {each.name: each for each in space.dimensions}
    names = searched["scheduler"].choices if "scheduler" in searched else (canonical(spec.scheduler),)
    if "pag_scale" in searched and (spec.refiner or not (spec.traits.perturbed or spec.traits.drawn == "own")):
        by = "--refiner" if spec.refiner else f"{spec.name}, which is {spec.kind}"
        raise UserError(f"the space searches pag_scale, which does not go with {by}: leave it out")
    if "eta" not in searched or any(takes_eta(name) for name in names if name != DEFAULT):
        return
    try:
        if DEFAULT in names:
            return fits.check_sampling_early(spec.model_copy(update={"scheduler": DEFAULT, "eta": 1.0}))
    except UserError:
        names = ("the pipeline's own scheduler",)
    raise UserError(
        f"the space searches eta, and {' and '.join(names)} {'take' if names[1:] else 'takes'} none: give --scheduler "
        "DDIM or TCD, search the scheduler among them, or leave eta out"
    )


def negatives(text: str | None) -> str | list[str] | None:
    """The negative prompt of all prompts, or of each one in a file of several lines.

    Raises:
        UserError: the file is not there, or is empty.
    """
    if text is None or not _is_file(text):
        return text
    file = Path(text).expanduser()
    if not file.is_file():
        raise UserError(f"--negative-prompt {text}: no such file; give words, or a file of one line for each prompt")
    lines = [line.strip() for line in read_text(file).splitlines()]
    if not any(lines):
        raise UserError(f"--negative-prompt {text} is empty: put the negative prompt in it, or leave it out")
    return next(line for line in lines if line) if sum(map(bool, lines)) == 1 else lines


def _is_file(text: str) -> bool:
    try:
        return text.endswith(".txt") or Path(text).expanduser().is_file()
    except (OSError, ValueError):  # words too long for a file's name, say
        return False


def of_study(spec: ModelSpec, prompts: Sequence[str]) -> dict[str, Any]:
    """What is not as every model has it unasked, of JSON's types; steps, guidance and scheduler are told beside it."""
    from freeu.models.spec import PAG_LAYERS

    own = {prompt: spec.negatives[prompt] for prompt in prompts if prompt in spec.negatives}
    found = {
        "guidance_rescale": spec.guidance_rescale,
        "pag_scale": spec.pag_scale,
        "pag_layers": [] if spec.pag_layers == PAG_LAYERS else list(spec.pag_layers),
        "eta": spec.eta,
        "clip_skip": spec.clip_skip,
        "negative_prompt": spec.negative_prompt,
        "negatives": own,
        "size": [f"{width}x{height}" for width, height in spec.sizes] or (spec.size and "{}x{}".format(*spec.size)),
    }
    return {name: value for name, value in found.items() if value or (name == "eta" and value is not None)}


def in_words(spec: ModelSpec) -> str:
    """For the terminal: "30 steps, guidance 5, Euler a, clip skip 2, a negative prompt"."""
    from freeu.schedulers import DEFAULT, canonical

    found = [f"{spec.steps} steps", f"guidance {spec.guidance:g}"]
    if spec.scheduler != DEFAULT:
        found.append(canonical(spec.scheduler))
    found += [f"guidance rescale {spec.guidance_rescale:g}"] if spec.guidance_rescale else []
    found += [f"PAG scale {spec.pag_scale:g} in {', '.join(spec.pag_layers)}"] if spec.pag_scale else []
    found += [f"eta {spec.eta:g}"] if spec.eta is not None else []
    found += [f"clip skip {spec.clip_skip}"] if spec.clip_skip else []
    found += ["negative prompts"] if spec.negatives else ["a negative prompt"] if spec.negative_prompt else []
    return ", ".join(found)
