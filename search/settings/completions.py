"""What the shell offers for a flag's value: names of models, samplers, prompt sets, objectives, formats, picks.

Completion runs while a person waits, so nothing heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

import configs
from configs.prompt_files import FORMATS
from search.optimizer import samplers
from search.storage import StudyFolder, studies

Complete = Callable[[str], list[str]]


def beginning(names: Iterable[str], incomplete: str) -> list[str]:
    """Those of the names that begin so, sorted."""
    return sorted(name for name in names if name.startswith(incomplete))


def among(names: Iterable[str]) -> Complete:
    """What offers these names."""

    def complete(incomplete: str) -> list[str]:
        return beginning(names, incomplete)

    return complete


def models(incomplete: str) -> list[str]:
    """Base models, by name."""
    return beginning((file.stem for file in configs.path("models").glob("*.yaml")), incomplete)


def prompt_sets(incomplete: str) -> list[str]:
    """The sets of configs/prompts."""
    files = configs.path("prompts").glob("*.*")
    return beginning((file.stem for file in files if file.suffix[1:] in FORMATS), incomplete)


def sampler_names(incomplete: str) -> list[str]:
    """Samplers, by name."""
    return beginning(samplers.NAMES, incomplete)


def objectives(incomplete: str) -> list[str]:
    """The last of a list, as "clip,aes" is completed to "clip,aesthetic"."""
    from metrics.registry import METRICS

    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    names = (name for name, info in METRICS.items() if info.direction != "none" and name not in given)
    return [f"{before}{comma}{name}" for name in beginning(names, last)]


def study_configs(incomplete: str) -> list[str]:
    """The YAMLs of configs/studies."""
    return beginning((file.stem for file in configs.path("studies").glob("*.yaml")), incomplete)


def study_names(incomplete: str) -> list[str]:
    """The studies of the usual results folder."""
    return beginning(studies(Path("mlruns")), incomplete)


def picks(context: typer.Context, incomplete: str) -> list[str]:
    """Those of the study that stands before it."""
    mlruns = context.params.get("mlruns") or Path("mlruns")
    study = context.params.get("study") or context.params.get("name")
    known = [study] if study else studies(mlruns)
    found: set[str] = set()
    for name in known:
        result = StudyFolder(mlruns, name).read_result() or {}
        found |= {pick["pick"] for pick in result.get("picks", [])}
    return beginning(found, incomplete)


SETTINGS: dict[str, Complete] = {
    "model": models,
    "prompts": prompt_sets,
    "sampler": sampler_names,
    "objectives": objectives,
    "judges": objectives,
    "study": study_names,
    "start_from": study_names,
    "device": among(("cpu", "cuda", "mps")),
}
"""By the setting's field."""
