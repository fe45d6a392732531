"""A job: a study's settings, checked against its model, prompts and space, before any weights load.

It is the step between what the user asked for (`StudyConfig`) and what a study does. Whatever is wrong ends here,
within a second; everything later takes the one finished `Job`. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs import UserError, devices, unknown
from freeu import Candidate, Sampling
from search.optimizer import space_file
from search.optimizer.space import Space
from search.settings import drafts, fingerprints, goals, judges, model, prompts, sampling, served
from search.settings.first_candidates import first_candidates
from search.storage import StudyFolder

if TYPE_CHECKING:
    from configs.devices import Device
    from freeu.models import ModelSpec
    from freeu.presets.like import Like
    from search.settings.config import StudyConfig


HELD_OUT = 512
"""Prompts of the held-out half that a study takes, at most, unless told."""


@dataclass(frozen=True)
class Job:
    """Everything that is known of a study before anything heavy loads.

    Attributes:
        config: with the objectives and judges resolved. spec: the base model as the settings change it. prompt_set: its
            name. prompts, held_out: the texts of the two halves, in order. categories: prompt → category.
        directions: objective → "up" or "down". judges: the same of what the confirmation alone reads. fixed: the first
            candidates, each with its origin, the baseline first.
        device: where images are made: a guess, until a worker has told (`search.session`).
        fingerprint: what must stay the same for the study to go on. like: what was taken of --like.
    """

    config: StudyConfig
    spec: ModelSpec
    space: Space
    prompt_set: str
    prompts: tuple[str, ...]
    held_out: tuple[str, ...]
    categories: Mapping[str, str]
    directions: Mapping[str, str]
    judges: Mapping[str, str]
    fixed: tuple[tuple[str, Candidate], ...]
    device: Device
    fingerprint: Mapping[str, Any]
    like: Like | None = None

    @property
    def folder(self) -> StudyFolder:
        return StudyFolder(self.config.mlruns, self.config.name)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all that it is scored by, the objectives first."""
        return (*(self.config.objectives or ()), *(self.config.judges or ()))

    @property
    def sampling(self) -> Sampling:
        """The study's own settings."""
        return self.space.own

    @property
    def steps(self) -> int:
        return self.spec.steps

    @property
    def low(self) -> Sampling | None:
        """Steps and size of a first rung of cheaper images, if it is to have such."""
        return drafts.draft(self)

    @property
    def guidance(self) -> float:
        return self.spec.guidance


def prepare(config: StudyConfig) -> Job:
    """Make the job of some settings. Raises UserError for whatever can be found wrong without weights."""
    config, like = sampling.alike(config)
    spec, chosen, prompt_set = model.resolve(config)
    objectives, asked = goals.resolved(config.goal, config.objectives, config.judges, spec)
    if config.offload and _device(config).kind == "cpu" and spec.traits.drawn != "own":
        raise UserError("--offload keeps on the CPU what the device doesn't need just now: it needs another device")
    if config.cuda_graphs and not config.compile:
        raise UserError("--cuda-graphs replays what was compiled: give --compile, too")
    if config.cuda_graphs and _device(config).kind != "cuda":
        raise UserError("--cuda-graphs needs a CUDA device: leave it out")
    infos = model.objectives(objectives)
    directions = {info.name: info.direction for info in infos}
    for name in config.margins:
        if name not in directions:
            raise unknown("objective of --margin", name, directions)
    most = config.limit, config.held_out or HELD_OUT
    halves = [prompts.limited(half, n) for half, n in zip(prompts.split(prompt_set), most, strict=True)]
    texts, held_out = (tuple(prompt.text for prompt in half) for half in halves)
    for info in infos:
        if (why := judges.why_not(info, spec, [*texts, *held_out])) is not None and info.name == "questions":
            raise UserError(f"--objectives {info.name}: {why}")
    names, judging = judges.chosen(asked, StudyFolder(config.mlruns, config.name), spec, directions, held_out)
    config = config.model_copy(update={"objectives": objectives, "judges": names})
    space = space_file.chosen(config.space, config.version, config.stages, spec.sampling)
    served.check_space(spec, space)
    sampling.check_space(spec, space)
    return Job(
        config,
        spec,
        space,
        chosen,
        texts,
        held_out,
        {prompt.text: prompt.category for prompt in prompt_set},
        directions,
        judging,
        first_candidates(config, spec, space, like),
        _device(config),
        fingerprints.fingerprint(config, spec, space, texts, held_out),
        like,
    )


def check_enough(job: Job) -> None:
    """Raises UserError where an objective takes more images than there are prompts."""
    names = job.config.objectives or ()
    for name, info in zip(names, model.objectives(names), strict=True):
        prompts.check_enough(name, info.min_n, min(len(job.prompts), len(job.held_out)))


def _device(config: StudyConfig) -> Device:
    """As it seems by now. Raises UserError for a card that is not the user's to choose."""
    if config.ray is None:
        return devices.likely(config.device)
    if config.device is not None and ":" in config.device:
        raise UserError(f"--device {config.device} with --ray: Ray gives each worker a GPU: leave out the number")
    return devices.likely(config.device or "cuda")
