"""Loads what a worker holds, once per process: the base model, and an evaluator for each purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import devices
from configs.devices import Device
from freeu.controls import FactorsError
from freeu.factors import Factors
from freeu.sampling import UNCHANGED, Sampling
from search.evaluation.evaluator import LOW, Evaluator, Evaluators, OnImages
from search.evaluation.score_cache import Cache
from search.optimizer.space import SOBOL, Space
from search.settings import prompts, rungs
from search.settings.config import FIELDS
from search.settings.fingerprints import digest
from search.settings.setting import setting_of

if TYPE_CHECKING:
    from freeu.generate import Generator
    from freeu.models import ModelSpec
    from metrics.base import Metric
    from search.settings.config import StudyConfig
    from search.settings.job import Job

CACHE = "cache"
"""The folder of scores, in the results folder."""
Load = Callable[["StudyConfig", "ModelSpec"], "tuple[Generator, dict[str, Metric]]"]


def load_parts(
    config: StudyConfig, spec: ModelSpec, before: Callable[[ModelSpec], None] = lambda _: None
) -> tuple[Generator, dict[str, Metric]]:
    """Load the metrics of objectives and judges and the base model onto the device: the smaller ones first, so that one
    that can't be had is told before gigabytes are read. before: called with the model before it is. Raises UserError.
    """
    from freeu.models import load_generator
    from metrics import registry

    device = devices.chosen(config.device)
    names = [*(config.objectives or ()), *(name for name in config.judges or () if name != "none")]
    built = [registry.build(name, spec.scorers, device, spec.base, spec.reference) for name in names]
    before(spec)
    generator = load_generator(
        spec,
        device=device,
        dtype=config.dtype,
        vae_dtype=config.vae_dtype,
        batch_size=config.batch_size,
        slicing=config.slicing,
        offload=config.offload,
        compiled=config.compile,
        graphs=config.compile and config.cuda_graphs,
    )
    return generator, {metric.name: metric for metric in built}


def assemble(load: Load, job: Job) -> Evaluators:
    """Load, and make the evaluators: "search", "guardrails" (the baseline under other seeds) and "confirm", which alone
    has the judges; "low", the search with cheaper images, where they are asked for.
    """
    from metrics import registry
    from metrics.guardrails import Guardrail
    from search.evaluation.guardrails import NAMES, OF_VIDEOS

    config, seed = job.config, job.config.seed
    generator, loaded = load(config, job.spec)
    numbers = str(getattr(generator, "dtype", "")).removeprefix("torch.")
    device = devices.described(devices.chosen(config.device), numbers)
    judges = {name: metric for name, metric in loaded.items() if name in job.judges}
    metrics = {name: metric for name, metric in loaded.items() if name not in judges}
    texts = [*job.prompts, *job.held_out]
    negatives = [job.spec.negative_prompt, *job.spec.negatives.values()]
    too_long = tuple(generator.too_long([*texts, *dict.fromkeys(filter(None, negatives))]))
    generator.prepare(texts, _texts_of(job))
    if hasattr(generator, "expect"):
        ends = rungs.rungs(len(job.prompts)) if config.racing else (len(job.prompts),)
        several = config.workers > 1
        counts = (rungs.block(ends, config.workers),) if several else rungs.steps(ends)
        generator.expect(counts, several, _some_of(job.space, seed))
    rails: dict[str, Metric] = {}
    if config.guardrails:
        rails |= {name: Guardrail(name, device.name, NAMES) for name in NAMES}
        if getattr(generator, "frames", 1) > 1:
            rails |= {name: registry.build(name, {}, device.name, Path()) for name in OF_VIDEOS if name not in NAMES}

    def evaluator(
        purpose: str,
        measured: Mapping[str, Metric],
        texts: tuple[str, ...],
        low: Sampling = UNCHANGED,
        whole: bool = False,
    ) -> Evaluator:
        of = generator if low == UNCHANGED else generator.with_sampling(low)
        kept = config.cache and not _untold(of, measured)
        cache = Cache(config.mlruns / CACHE, _made(job, of, measured, low, device)) if kept else None
        return Evaluator(of, measured, texts, prompts.seeds(texts, seed, purpose), cache, whole, job.spec.sizes)

    evaluators = {
        "search": evaluator("search", {**metrics, **rails}, job.prompts, whole=config.keep_images == "all"),
        "guardrails": evaluator("guardrails", rails, job.prompts),
        "confirm": evaluator(
            "confirm", {**metrics, **rails, **judges}, job.held_out, whole=config.keep_images != "small"
        ),
    }
    if job.low is not None:
        evaluators[LOW] = evaluator("search", {**metrics, **rails}, job.prompts, job.low)
    return Evaluators(evaluators, too_long, device)


def _some_of(space: Space, seed: int) -> list[Factors]:
    """Some of a space's factors."""
    found = []
    for point in space.sobol(SOBOL, seed):
        with suppress(FactorsError):  # a start after its stop
            found.append(space.candidate(point).factors)
    return found


def _texts_of(job: Job) -> list[Sampling]:
    """Settings under which candidates may read the prompts otherwise than the study does."""
    skips = [each for each in job.space.dimensions if each.name == "clip_skip"]
    layers = [Sampling(clip_skip=layer) for each in skips for layer in range(int(each.low), int(each.high) + 1)]
    low = (job.low.size,) if job.low is not None and job.low.size is not None else ()
    return [*layers, *(Sampling(size=size) for size in (*job.spec.sizes, *low))]


MADE = (
    *("source", "addons", "kind", "parts", "input", "resolution", "scheduler", "steps", "guidance", "dtype"),
    "scorers",
)
"""Of the fingerprint, what images and their scores depend on."""
OTHER_IMAGES = [key for key, field in FIELDS.items() if setting_of(field).images]
"""Settings of which each value makes other images."""


def _made(
    job: Job, generator: Generator, metrics: Mapping[str, Metric], low: Sampling, device: Device
) -> dict[str, Any]:
    return {
        **{name: job.fingerprint[name] for name in MADE},
        **({"sampling": job.fingerprint["sampling"]} if job.fingerprint["sampling"] else {}),
        **low.as_dict(),
        **{key: value for key in OTHER_IMAGES if (value := getattr(job.config, key)) is not None},
        "weights": generator.identity,
        "device": device.exact,
        "metrics": [f"{name} {metric.version}" for name, metric in metrics.items()],
        "scorer_weights": _weights(metrics),
    }


def _weights(metrics: Mapping[str, Metric]) -> list[str]:
    """Of each metric that reads weights its name and theirs: of its encoder, and of what it reads beside it."""
    found = []
    for name, metric in metrics.items():
        named = (getattr(each, "identity", None) for each in (getattr(metric, "encoder", None), metric))
        if read := [each for each in named if isinstance(each, str) and each]:
            found.append(f"{name} {digest(' '.join(read))}")
    return found


def _untold(generator: Generator, metrics: Mapping[str, Metric]) -> list[str]:
    """The generator and metrics of one's own that don't tell which weights they read: no scores of theirs are kept."""
    named = [("the generator", generator), *((f"the metric {name}", metric) for name, metric in metrics.items())]
    return [name for name, each in named if getattr(each, "identity", None) == ""]


@dataclass(frozen=True)
class Known:
    """What is known once all is loaded. identity: of the model's weights. scorer_weights, judge_weights: as `_weights`
    has them. untold: what doesn't tell its weights. too_long: prompts that its text encoder cuts. floors: by metric of
    the set, what so many real images would get. device: of the worker that tells. notes: what the generator found out
    at the start."""

    identity: str
    scorer_weights: list[str]
    judge_weights: list[str]
    untold: list[str]
    too_long: tuple[str, ...]
    floors: dict[str, float]
    device: Device
    notes: tuple[str, ...] = ()


def known(held: Evaluators, on_images: OnImages) -> Known:
    """What is known after loading; the first job of a run."""
    evaluator = held.by_purpose["search"]
    n = len(evaluator.prompts)
    floors = {name: metric.floor_at(n) for name, metric in evaluator.metrics.items() if hasattr(metric, "floor_at")}
    found = {name: floor for name, floor in floors.items() if floor is not None}
    of, metrics, confirming = evaluator.generator, evaluator.metrics, held.by_purpose["confirm"].metrics
    weights = _weights(metrics), _weights({name: each for name, each in confirming.items() if name not in metrics})
    notes = getattr(of, "notes", ())
    return Known(of.identity, *weights, _untold(of, confirming), held.too_long, found, held.device, notes)
