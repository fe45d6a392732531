"""What a study is going to do, checked before any weights load: printed at its start, and all that a dry run does.

No torch here. The time comes from what the same model took before on this machine, where a study of it is there,
else from the work of one U-Net evaluation and the usual speed of such a machine, which is a guess within a factor of 3.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError, read_yaml
from freeu import Factors
from search import space as spaces
from search.records import StudyFolder, studies
from search.space import SOBOL, Space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from configs.prompt_files import Prompt
    from freeu.models import ModelSpec
    from metrics.registry import MetricInfo
    from search.config import StudyConfig

# GFLOP of one evaluation for one image at 512 (1024 for SDXL) pixels, counted with torch's profiler; about
# proportional to the pixels.
WORK = {"shapes": (0.27, 64), "sd14": (800, 512), "sd15": (800, 512), "sd21": (800, 512), "sdxl": (6000, 1024)}
SPEED = {
    "cpu": 25.0,
    "mps": 3_000.0,
    "cuda": 80_000.0,
}  # GFLOP/s: of a CPU core in float32, of a device as a whole
DAY = 24 * 3600
OVERHEAD = 25.0  # seconds: loading, the sampler's thinking, MLflow


@dataclass(frozen=True)
class Plan:
    """A study's size. images: of a trial; held_out: of a confirmation pass; done: trials complete already."""

    config: StudyConfig
    spec: ModelSpec
    space: Space
    prompt_set: str
    images: int
    held_out: int
    fixed: tuple[tuple[str, Factors], ...]
    device: str
    done: int = 0

    @property
    def steps(self) -> int:
        return self.config.steps or self.spec.steps

    @property
    def guidance(self) -> float:
        return self.spec.guidance if self.config.guidance is None else self.config.guidance

    @property
    def first(self) -> int:
        """Candidates before the sampler's."""
        return len(self.fixed) + SOBOL

    @property
    def passes(self) -> int:
        """The most passes of the confirmation: each objective's best, the knee, the most improved, and no FreeU."""
        objectives = len(self.config.objectives or ())
        return objectives + 3 if objectives > 1 else 2

    @property
    def per_image(self) -> int:
        """U-Net evaluations of an image: two a step under guidance; of a redrawn video each frame's."""
        part = self.spec.strength if self.spec.kind in ("image-to-image", "video-to-video") else 1
        frames = self.spec.frames if self.spec.kind == "video-to-video" else 1
        return frames * max(1, int(part * self.steps)) * (2 if self.guidance > 1 else 1)

    @property
    def evaluations(self) -> int:
        """U-Net evaluations that are left, the confirmation included."""
        from search.racing import usual

        left = max(0, self.config.trials - self.done)
        whole = min(left, max(0, len(self.fixed) - self.done))
        each = usual(self.images) if self.config.racing else self.images
        once = self.images if self.config.guardrails and not self.done else 0
        images = whole * self.images + (left - whole) * each + once + self.passes * self.held_out
        return round(self.per_image * images)

    def seconds(self) -> tuple[float, bool]:
        """(about how long it takes, whether that was measured here)."""
        rate = measured(self.config.mlruns, self.spec.name, self.device, self.config.dtype)
        if rate is not None:
            return OVERHEAD + rate * self.evaluations, True
        work, side = WORK.get(self.spec.name, WORK["sd15"])
        kind = self.device.partition(":")[0]
        speed = SPEED[kind] * ((os.cpu_count() or 1) if kind == "cpu" else 1)
        return OVERHEAD + self.evaluations * work * (self.spec.resolution / side) ** 2 / speed, False

    def _prompts(self) -> str:
        from search.racing import rungs

        steps = rungs(self.images) if self.config.racing else (self.images,)
        return f"{', '.join(map(str, steps[:-1]))} or {self.images} prompts" if steps[1:] else f"{self.images} prompts"

    def _workers(self) -> str:
        where = f" on Ray at {self.config.ray}" if self.config.ray else ""
        return f", {self.config.workers} workers{where}" if self.config.workers > 1 or where else ""

    def _searched(self) -> str:
        """The version and convention, and what is searched beside the four factors."""
        names = [each.name for each in self.space.dimensions]
        fixed = {name: value for name, value in self.space.fixed.items() if name not in ("version", "stages")}
        version, stages = (self.space.fixed.get(name, "v1 and v2") for name in ("version", "stages"))
        said = f"FreeU {version} by {'width and block' if 'stages' in names else stages}"
        said += "" if names == ["b1", "b2", "s1", "s2"] else f", over {', '.join(names)}"
        return said + (f" with {', '.join(f'{name} {value:g}' for name, value in fixed.items())}" if fixed else "")

    def _low(self) -> list[str]:
        """Said where it is asked for."""
        n = self.config.low_steps
        return [] if n is None else [f"first rung  {n} steps, if they rank the first candidates as {self.steps} do"]

    def lines(self) -> list[str]:
        """For a person to read, a line for each matter."""
        from search.progress import ARROWS, duration

        c, s, prompt_set = self.config, self.spec, Path(self.prompt_set).name
        begun = f"{self.done} of them done, " if self.done else ""
        sobol = min(SOBOL, max(0, c.trials - len(self.fixed)))
        rest = max(0, c.trials - len(self.fixed) - sobol)
        started = sum(origin.startswith("from:") for origin, _ in self.fixed)
        first = "no FreeU" + (", the published factors" if any(each == "published" for each, _ in self.fixed) else "")
        first += f", {started} of other studies and presets" if started else ""
        seconds, sure = self.seconds()
        limit = f", at most {c.minutes:g} minutes" if c.minutes is not None else ""
        how = "as measured here" if sure else "a rough guess: this model was not run here so before"
        how += "; a GPU is meant" if self.device == "cpu" and seconds > DAY else ""
        described = [_objective(name) for name in c.objectives or ()]
        goals = ", ".join(f"{info.name} {ARROWS[info.direction]}" for info in described)
        few = f" (it has no {c.limit})" if self.images < c.limit else ""
        size = f"{s.resolution}×{s.resolution}" + (f", {s.frames} frames" if s.frames > 1 else "")
        guidance = f"{self.steps} steps, guidance {self.guidance:g}"
        return [
            f"study       {c.name}: {c.trials} trials, {begun}{self._prompts()} of '{prompt_set}' each{few}",
            f"model       {s.name}, {s.kind.replace('-', ' ')}, {size}, {guidance}, {self.device}{self._workers()}",
            f"objectives  {goals}",
            f"candidates  {first}, {sobol} Sobol points, {rest} by {c.sampler}; {self._searched()}",
            *self._low(),
            f"then        the picks against no FreeU on {self.held_out} held-out prompts",
            f"work        {self.evaluations:,} U-Net evaluations, about {duration(seconds)} ({how}){limit}",
            f"results     {StudyFolder(c.mlruns, c.name).root}",
        ]


def measured(mlruns: Path, model: str, device: str, dtype: str | None = None) -> float | None:
    """Seconds for each U-Net evaluation, scoring included, over this model's trials; None where there are none."""
    seconds = evaluations = 0.0
    for name in studies(mlruns):
        folder = StudyFolder(mlruns, name)
        try:
            settings = read_yaml(folder.config)
            same = [settings.get(key) for key in ("model", "device", "dtype")] == [model, device, dtype]
            records = folder.read_trials() if same else []
        except UserError:
            continue  # a damaged study elsewhere is no reason not to plan this one
        seconds += sum(record.seconds.get("total", 0.0) for record in records if record.complete)
        evaluations += sum(record.unet_evaluations for record in records if record.complete)
    return seconds / evaluations if evaluations else None


def likely_device(asked: str | None) -> str:
    """The device that will be chosen, told without loading torch."""
    return asked or ("cuda" if Path("/dev/nvidiactl").exists() else "cpu")


@dataclass(frozen=True)
class Job:
    """All that is known before anything heavy is loaded."""

    config: StudyConfig
    spec: ModelSpec
    space: Space
    prompts: tuple[str, ...]
    held_out: tuple[str, ...]
    categories: Mapping[str, str]
    directions: Mapping[str, str]
    fixed: tuple[tuple[str, Factors], ...]
    fingerprint: dict[str, Any]
    folder: StudyFolder
    plan: Plan


def prepare(config: StudyConfig) -> Job:
    """Check everything that can be checked without weights. Writes nothing. Raises UserError."""
    from search import config as settings
    from search import prompts, racing

    spec, chosen, prompt_set = begun_from(config)
    if config.low_steps is not None and config.low_steps >= (config.steps or spec.steps):
        raise UserError(
            f"--low-steps {config.low_steps}: fewer than the {config.steps or spec.steps} of all other images are meant"
        )
    objectives = config.objectives or spec.objectives
    config = config.model_copy(update={"objectives": objectives})
    described = [_objective(name) for name in objectives]
    directions = {info.name: info.direction for info in described}
    halves = [prompts.limited(half, config.limit) for half in prompts.split(prompt_set)]
    if config.low_steps is not None and len(racing.rungs(len(halves[0]))) == 1:
        raise UserError(
            f"--low-steps {config.low_steps} is for the first rung of a race, and {len(halves[0])} prompts are one "
            f"rung: give {2 * racing.FEWEST} or more"
        )
    texts, held_out = (tuple(prompt.text for prompt in half) for half in halves)
    space = (
        spaces.load(Path(config.space), config.version, config.stages)
        if config.space
        else spaces.default(config.version, config.stages)
    )
    fixed = [("no FreeU", spaces.without_freeu(space))]
    if spec.published is not None:
        fixed += [("published", each) for each in spaces.warm([spec.published.factors()], space)]
    fixed += _started(config, space)
    fingerprint = settings.fingerprint(config, spec, space, texts, held_out)
    folder = StudyFolder(config.mlruns, config.name)
    if folder.config.exists():
        settings.same(config.name, kept_fingerprint(folder), fingerprint)
        _same_storage(config, folder)
    done = sum(record.complete for record in folder.read_trials())
    plan = Plan(
        config, spec, space, chosen, len(texts), len(held_out), tuple(fixed), likely_device(config.device), done
    )
    categories = {prompt.text: prompt.category for prompt in prompt_set}
    return Job(config, spec, space, texts, held_out, categories, directions, tuple(fixed), fingerprint, folder, plan)


def _same_storage(config: StudyConfig, folder: StudyFolder) -> None:
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


def check_enough(job: Job) -> None:
    """Raises UserError where an objective takes more images than there are prompts."""
    from search import prompts

    for name in job.config.objectives or ():
        prompts.check_enough(name, _objective(name).min_n, min(len(job.prompts), len(job.held_out)))


def begun_from(config: StudyConfig) -> tuple[ModelSpec, str, tuple[Prompt, ...]]:
    """The base model as the settings change it, the prompt set's name, and its prompts; checked, without weights."""
    from freeu.models import inputs, load_spec
    from freeu.models.addons import addons
    from freeu.models.spec import changed
    from metrics.reference_kinds import parse
    from search import prompts
    from search.store import check_folder

    check_folder(config.mlruns, config.tracking_uri)
    loaded = load_spec(config.model)
    given = _given(loaded, config)
    addons(loaded.model_copy(update=given))  # files that are not there are told before anything loads
    if loaded.kind not in ("image-to-image", "image-to-video"):  # of those a prompt set may bring the pictures
        inputs.check(changed(loaded, given))
    chosen = config.prompts or loaded.prompts
    prompt_set = prompts.load(chosen, config.subject)
    if loaded.kind in ("text-to-image", "image-to-image", "image-to-video"):
        given["inputs"] = {prompt.text: prompt.image for prompt in prompt_set if prompt.image is not None}
    if config.reference:
        given["reference"] = parse(config.reference)
    spec = changed(loaded, given)
    inputs.check(spec)
    return spec, chosen, prompt_set


def _started(config: StudyConfig, space: Space) -> list[tuple[str, Factors]]:
    """The candidates of --from, each with its origin: a study's front, or a preset's factors."""
    from freeu import presets
    from search.records import read_json

    found: list[tuple[str, Factors]] = []
    for source in config.start_from:
        other = StudyFolder(config.mlruns, source)
        if Path(source).is_file():
            factors = [preset.factors for preset in presets.read_all(source).values()]
        elif other.result.is_file():
            factors = [Factors.from_dict(row["factors"]) for row in read_json(other.result)["front"]]
        else:
            raise UserError(
                f"--from {source}: there is no such preset file, and no finished study of that name in {config.mlruns}"
            )
        kept = [each for each in spaces.warm(factors, space) if not each.identity]
        found += [(f"from:{source} {number}", each) for number, each in enumerate(kept)]
    return found


def _objective(name: str) -> MetricInfo:
    """What is known of it. Raises UserError for a metric that has no better direction."""
    from metrics import registry

    found = registry.describe(name)
    if found.direction == "none":
        raise UserError(f"{name} is a guardrail, which has no better direction: it is no objective (--guardrails)")
    return found


def _given(spec: ModelSpec, config: StudyConfig) -> dict[str, Any]:
    """What the settings put on the spec; their paths start from the working directory."""
    from freeu.models.spec import HUB_ID

    def here(place: str) -> str:
        file = Path.cwd() / Path(place).expanduser()
        return place if HUB_ID.fullmatch(place) and not file.exists() else str(file)

    given: dict[str, Any] = {
        "loras": (*spec.loras, *(str(Path.cwd() / text) for text in config.loras)),
        "embeddings": (*spec.embeddings, *(str(Path.cwd() / text) for text in config.embeddings)),
    }
    places = ("vae", "unet", "controlnet", "motion_adapter", "refiner", "input")
    given |= {field: here(place) for field in places if (place := getattr(config, field))}
    given |= {field: value for field in ("strength", "frames", "every") if (value := getattr(config, field))}
    if config.pipeline_config:
        given["config"] = here(config.pipeline_config)
    return given


def kept_fingerprint(folder: StudyFolder) -> Mapping[str, Any]:
    """The fingerprint that a study was begun with. Raises UserError."""
    kept = read_yaml(folder.config).get("fingerprint")
    if not isinstance(kept, dict):
        raise UserError(f"{folder.config} has no fingerprint: it is not a study's; give another name with --study")
    return kept
