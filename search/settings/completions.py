"""What the shell offers for a setting's value: names of samplers, schedulers, prompt sets, objectives, studies, picks.

Completion runs while a person waits, so nothing heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import typer

import configs
from configs import UserError
from configs.completing import Complete, among, beginning, listed, models
from configs.prompt_files import FORMATS
from search.optimizer import samplers
from search.storage import StudyFolder, studies


def prompt_sets(incomplete: str) -> list[str]:
    """The sets of configs/prompts."""
    files = configs.path("prompts").glob("*.*")
    return beginning((file.stem for file in files if file.suffix[1:] in FORMATS), incomplete)


def sampler_names(incomplete: str) -> list[str]:
    """Samplers, by name."""
    return beginning(samplers.SAMPLERS, incomplete)


def schedulers(incomplete: str) -> list[str]:
    """Samplers, and behind a whole sampler's name the schedules that it runs on: "DPM++_2M", then "DPM++_2M_Karras".

    With "_" for the spaces, at which a shell would cut the name.
    """
    from freeu.sampler_table import DEFAULT, SAMPLERS, SCHEDULES
    from freeu.schedulers import named

    given, found = incomplete.replace(" ", "_"), [DEFAULT]
    for sampler in (each.name.replace(" ", "_") for each in SAMPLERS):
        found.append(sampler)
        for schedule in SCHEDULES if given.startswith(sampler) else ():
            with suppress(UserError):
                named(f"{sampler}_{schedule.name}")
                found.append(f"{sampler}_{schedule.name}")
    return beginning(found, given)


def _scores() -> Iterable[str]:
    """Metrics of which more, or less, is better."""
    from metrics.registry import METRICS

    return (name for name, info in METRICS.items() if info.direction != "none")


objectives = listed(_scores)
judges = listed(lambda: [*_scores(), "none"])


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
    "judges": judges,
    "scheduler": schedulers,
    "study": study_names,
    "start_from": study_names,
    "device": among(("cpu", "cuda", "mps")),
}
"""By the setting's field."""
