"""A job: the settings of a study, checked against its model, its prompts and its space, with no weights loaded.

The one step between what was asked (`StudyConfig`) and everything that a study does: whatever is wrong is told here, in
a second, and everything behind it takes the one finished `Job`. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError, read_yaml
from freeu import Factors
from search.optimizer import space_file
from search.optimizer.space import Space, baseline, warm
from search.settings import fingerprints, model, prompts
from search.settings.model import objective
from search.storage.files import read_json
from search.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    from freeu.models import ModelSpec
    from search.settings.config import StudyConfig


HELD_OUT = 512
"""Prompts of the held-out half that a study takes, at most, unless told."""


@dataclass(frozen=True)
class Job:
    """All that is known before anything heavy is loaded.

    Attributes:
        config: with the objectives resolved. spec: the base model as the settings change it. prompt_set: its name.
        prompts, held_out: the texts of the two halves, in order. categories: prompt → category.
        directions: objective → "up" or "down". fixed: the first candidates, each with its origin, the baseline first.
        device: where images are made, as "cuda" or "cpu". fingerprint: what must stay the same for the study to go on.
    """

    config: StudyConfig
    spec: ModelSpec
    space: Space
    prompt_set: str
    prompts: tuple[str, ...]
    held_out: tuple[str, ...]
    categories: Mapping[str, str]
    directions: Mapping[str, str]
    fixed: tuple[tuple[str, Factors], ...]
    device: str
    fingerprint: Mapping[str, Any]

    @property
    def folder(self) -> StudyFolder:
        return StudyFolder(self.config.mlruns, self.config.name)

    @property
    def steps(self) -> int:
        return self.config.steps or self.spec.steps

    @property
    def guidance(self) -> float:
        return self.spec.guidance if self.config.guidance is None else self.config.guidance


def prepare(config: StudyConfig) -> Job:
    """Check everything that can be checked without weights. Raises UserError."""
    spec, chosen, prompt_set = model.resolve(config)
    config = config.model_copy(update={"objectives": config.objectives or spec.objectives})
    directions = {info.name: info.direction for info in map(objective, config.objectives or ())}
    most = config.limit, config.held_out or HELD_OUT
    halves = [prompts.limited(half, n) for half, n in zip(prompts.split(prompt_set), most, strict=True)]
    texts, held_out = (tuple(prompt.text for prompt in half) for half in halves)
    space = _space(config)
    job = Job(
        config,
        spec,
        space,
        chosen,
        texts,
        held_out,
        {prompt.text: prompt.category for prompt in prompt_set},
        directions,
        _first(config, spec, space),
        likely_device(config.device),
        fingerprints.fingerprint(config, spec, space, texts, held_out),
    )
    if job.folder.config.exists():
        fingerprints.check_same(config.name, kept_fingerprint(job.folder), job.fingerprint)
        _check_storage(config, job.folder)
    return job


def check_enough(job: Job) -> None:
    """Raises UserError where an objective takes more images than there are prompts."""
    for name in job.config.objectives or ():
        prompts.check_enough(name, objective(name).min_n, min(len(job.prompts), len(job.held_out)))


def kept_fingerprint(folder: StudyFolder) -> Mapping[str, Any]:
    """The fingerprint that a study was begun with. Raises UserError."""
    kept = read_yaml(folder.config).get("fingerprint")
    if not isinstance(kept, dict):
        raise UserError(f"{folder.config} has no fingerprint: it is not a study's; give another name with --study")
    return kept


def likely_device(asked: str | None) -> str:
    """The device that will be chosen, told without loading torch."""
    return asked or ("cuda" if Path("/dev/nvidiactl").exists() else "cpu")


def _space(config: StudyConfig) -> Space:
    if config.space:
        return space_file.load(Path(config.space), config.version, config.stages)
    return space_file.default(config.version, config.stages)


def _first(config: StudyConfig, spec: ModelSpec, space: Space) -> tuple[tuple[str, Factors], ...]:
    """The candidates before the search's own: the baseline, the published factors, and those of --from."""
    found = [("baseline", baseline(space))]
    if spec.published is not None:
        found += [("published", each) for each in warm([spec.published.factors()], space)]
    for source in config.start_from:
        kept = [each for each in warm(_factors_of(source, config.mlruns), space) if not each.identity]
        found += [(f"from:{source} {number}", each) for number, each in enumerate(kept)]
    return tuple(found)


def _factors_of(source: str, mlruns: Path) -> list[Factors]:
    """Of a preset file, or of a finished study's front."""
    from freeu import presets

    other = StudyFolder(mlruns, source)
    if Path(source).is_file():
        return [preset.factors for preset in presets.read_all(source).values()]
    if other.result.is_file():
        return [Factors.from_dict(row["factors"]) for row in read_json(other.result)["front"]]
    raise UserError(f"--from {source}: there is no such preset file, and no finished study of that name in {mlruns}")


def _check_storage(config: StudyConfig, folder: StudyFolder) -> None:
    """Raises UserError where a study that is on a server would be begun anew in its folder, or the other way round."""
    kept = read_yaml(folder.config).get("storage")
    if kept is not None and config.storage is None:
        raise UserError(
            f"study '{config.name}' is on the server {kept}: give it with --storage, or another name with --study"
        )
    if kept is None and config.storage is not None:
        raise UserError(
            f"study '{config.name}' is kept in its folder: leave out --storage, or give another name with --study"
        )
