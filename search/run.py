"""`python -m search.run`: a study from its settings to its verdict. The only place that names concrete parts.

Heavy imports stand inside functions: `--help` and `--dry-run` load neither torch nor Optuna nor MLflow.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import UserError
from configs.cli import INTERRUPTED, main

if TYPE_CHECKING:
    from rich.console import Console

    from freeu.generate import Generator
    from freeu.models import ModelSpec
    from metrics.base import Metric
    from search.config import StudyConfig
    from search.evaluate import Evaluator
    from search.guardrails import Guarded
    from search.plan import Job
    from search.progress import Progress
    from search.records import StudyFolder, TrialRecord
    from search.study import Evaluate
    from search.track import Tracker

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="Name, or one of your own [shapes].")] = None,
    loras: Annotated[
        list[str] | None, typer.Option("--lora", metavar="FILE[:0.8]", help="A LoRA, and its weight; several times.")
    ] = None,
    embeddings: Annotated[
        list[str] | None,
        typer.Option("--embedding", metavar="FILE[:TOKEN]", help="A textual inversion; several times."),
    ] = None,
    vae: Annotated[str | None, typer.Option(metavar="PLACE", help="Another VAE: a folder or safetensors.")] = None,
    unet: Annotated[str | None, typer.Option(metavar="FOLDER", help="A fine-tuned U-Net.")] = None,
    controlnet: Annotated[
        str | None, typer.Option(metavar="PLACE", help="A ControlNet for edges: redraws the --input video.")
    ] = None,
    motion_adapter: Annotated[
        str | None, typer.Option(metavar="PLACE", help="AnimateDiff's: Stable Diffusion makes videos.")
    ] = None,
    refiner: Annotated[str | None, typer.Option(metavar="PLACE", help="SDXL's, for the end of each run.")] = None,
    input_: Annotated[
        str | None, typer.Option("--input", metavar="PLACE", help="Picture or video that every image begins from.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(metavar="X", help="How far from its input an image goes, to 1 [the model's].")
    ] = None,
    frames: Annotated[int | None, typer.Option(metavar="N", help="Frames of a video [the model's].")] = None,
    every: Annotated[int | None, typer.Option(metavar="N", help="Redraw each N-th frame [the model's].")] = None,
    pipeline_config: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="How a single-file checkpoint is laid out: a diffusers folder like it."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="WORDS", help='What stands for {subject} in prompts, as "a sks dog".')
    ] = None,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="Study to begin or go on with [the model's name].")
    ] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="Complete trials [24].")] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="Time for all of it, confirmation included.")
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Prompt set: a name, or txt, csv, tsv, json, jsonl [the model's]."),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Prompts a trial [48].")] = None,
    objectives: Annotated[str | None, typer.Option(metavar="A,B", help="As clip,aesthetic,fid [the model's].")] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Real images: folder, table, .npz or hub id [the model's].")
    ] = None,
    guardrails: Annotated[
        bool | None, typer.Option("--guardrails/--no-guardrails", help="Keep colour, contrast, detail in bounds [on].")
    ] = None,
    version: Annotated[str | None, typer.Option(metavar="v1|v2", help="FreeU's version [v2].")] = None,
    stages: Annotated[
        str | None, typer.Option(metavar="width|block", help="How stages are recognised [width].")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(metavar="NAME", help="gp, tpe, nsga2, nsga3, qmc, random, grid [gp].")
    ] = None,
    space: Annotated[
        str | None, typer.Option(metavar="FILE", help="YAML of ranges and more dimensions [four wide ranges].")
    ] = None,
    start_from: Annotated[
        list[str] | None, typer.Option("--from", metavar="STUDY|FILE", help="Try its best first; several times.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of candidates, noise and statistics [0].")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Denoising steps [the model's].")] = None,
    guidance: Annotated[float | None, typer.Option(metavar="X", help="Guidance scale [the model's].")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Images at a time; changes no score's meaning [the model's]."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1 or mps [cuda where there is one].")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="NAME", help="float32, float16 or bfloat16 [float16 on cuda].")
    ] = None,
    slicing: Annotated[bool | None, typer.Option("--slicing", help="Attention in slices: less memory.")] = None,
    offload: Annotated[bool | None, typer.Option("--offload", help="Networks on the device in turns.")] = None,
    compile_: Annotated[bool | None, typer.Option("--compile", help="Compile the U-Net: slow start.")] = None,
    mlruns: Annotated[Path | None, typer.Option(metavar="DIR", help="Results folder [mlruns].")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML with any of these flags as keys; flags win.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and end.")] = False,
) -> None:
    """Find the FreeU factors that suit a model, and see whether they help at all.

    The same command again goes on with the study where it was.
    """
    flags = {key.rstrip("_"): value for key, value in locals().items() if key not in ("config", "dry_run")}
    from rich.console import Console

    from search.config import load
    from search.plan import prepare

    # The tables want some 100 columns; a file or a pipe has as many as one likes.
    settings, console = load(config, flags), Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    if dry_run:
        for line in prepare(settings).plan.lines():
            console.print(line, markup=False, soft_wrap=True)
        return
    signal.signal(signal.SIGTERM, _interrupt)
    execute(settings, console)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


Load = Callable[["StudyConfig", "ModelSpec"], "tuple[Generator, dict[str, Metric]]"]


def load_parts(config: StudyConfig, spec: ModelSpec) -> tuple[Generator, dict[str, Metric]]:
    """The base model and the objectives' metrics, on the device. Raises UserError where they can't be had."""
    import torch

    from freeu.models import load_generator
    from freeu.models.load import choose_device
    from metrics import registry

    device = str(choose_device(config.device or ("cuda" if torch.cuda.is_available() else "cpu")))
    generator = load_generator(
        spec,
        device=device,
        dtype=config.dtype,
        steps=config.steps,
        guidance=config.guidance,
        batch_size=config.batch_size,
        slicing=config.slicing,
        offload=config.offload,
        compiled=config.compile,
    )
    built = [registry.build(name, spec.scorers, device, spec.base, spec.reference) for name in config.objectives or ()]
    return generator, {metric.name: metric for metric in built}


def execute(config: StudyConfig, console: Console, load: Load = load_parts) -> dict[str, Any]:
    """Run a study, or go on with it, to its result (as result.json holds it). load: makes model and metrics."""
    from search import result as results
    from search.plan import prepare
    from search.progress import Progress
    from search.track import Tracker

    began = time.monotonic()
    job = prepare(config)
    config = job.config
    tracker = Tracker(config.mlruns, config.name)
    if (result := _finished(job)) is not None:
        console.print(
            f"study '{config.name}' is finished, with {result['trials']} trials; more go on with --trials",
            markup=False,
        )
        _caught_up(job, tracker, result)
        results.show(console, job, result)
        return result
    with job.folder.locked():
        for line in job.plan.lines():
            console.print(line, markup=False, soft_wrap=True)
        progress = Progress(console, job.directions, config.trials, len(job.prompts), job.plan.passes)
        try:
            with progress:
                result = _study(job, load, progress, tracker, began)
        except KeyboardInterrupt:
            tracker.interrupt()
            console.print(f"interrupted: the same command goes on with study '{config.name}'", markup=False)
            raise typer.Exit(INTERRUPTED) from None
        except BaseException:
            tracker.interrupt()
            raise
    results.show(console, job, result)
    return result


def _finished(job: Job) -> dict[str, Any] | None:
    """The result, where it is that of all complete trials and no more are asked for."""
    result = job.folder.read_result()
    if result is None or not result["trials"] == job.plan.done >= job.config.trials:
        return None
    return result


def _caught_up(job: Job, tracker: Tracker, result: dict[str, Any]) -> None:
    """Log a finished study anew where MLflow's database was deleted: it is a view of the study's folder."""
    from search import config as settings
    from search.plan import kept_fingerprint

    if tracker.settings.database.exists():
        return
    digest = settings.stamp(kept_fingerprint(job.folder))
    with job.folder.locked():
        records = job.folder.read_trials()
        _logged(tracker, job, digest, str(result["model_identity"]), records)
        tracker.finish(result, records)


def _logged(tracker: Tracker, job: Job, digest: str, identity: str, records: Sequence[TrialRecord]) -> None:
    """Begin or take up the study in MLflow, and log the trials that it lacks."""
    tracker.start(job.config.model_dump(mode="json"), digest, {"freeu.model_identity": identity})
    missing = set(tracker.missing([record.number for record in records]))
    for record in records:
        if record.number in missing:
            _track(tracker, job.folder, record)


def _track(tracker: Tracker, folder: StudyFolder, record: TrialRecord) -> None:
    files = (folder.grid_file(record.number), folder.scores_file(record.number))
    tracker.trial(record, *(file if file.exists() else None for file in files))


def _study(job: Job, load: Load, progress: Progress, tracker: Tracker, began: float) -> dict[str, Any]:
    from search import confirm, prompts
    from search.evaluate import Evaluator
    from search.front import find, paired_spreads
    from search.records import write_json
    from search.result import assembled
    from search.study import Study

    config, folder = job.config, job.folder
    generator, metrics = load(config, job.spec)
    fingerprint = _sealed(job, generator.identity)
    if long := generator.too_long([*job.prompts, *job.held_out]):
        shown = ", ".join(f"'{text[:60]}…'" for text in long[:3])
        more = f" and {len(long) - 3} more" if len(long) > 3 else ""
        progress.say(f"warning: longer than the text encoder takes, so their ends are not seen: {shown}{more}")
    generator.prepare([*job.prompts, *job.held_out])
    for name, metric in metrics.items():
        if (floor := getattr(metric, "floor_at", None)) is not None and (least := floor(len(job.prompts))) is not None:
            progress.say(f"{name} of {len(job.prompts)} real images is {least:.4g}: the least to hope for")
    evaluator = Evaluator(generator, metrics, job.prompts, prompts.seeds(job.prompts, config.seed, "search"))
    again = Evaluator(generator, metrics, job.held_out, prompts.seeds(job.held_out, config.seed, "confirm"))
    watcher = _Watcher(progress, tracker, folder)
    evaluate: Evaluate = evaluator
    if config.guardrails:
        guarded = _guarded(evaluator, config.seed, folder)
        guarded.prepare(progress.measuring, progress.images)
        evaluate = guarded
    study = Study(
        folder,
        evaluate,
        job.directions,
        space=job.space,
        sampler=config.sampler,
        seed=config.seed,
        fixed=job.fixed,
        watcher=watcher,
    )
    records = study.records()
    progress.resume(records)
    _logged(tracker, job, fingerprint, generator.identity, records)
    study.run(config.trials, _clock(job, began))
    records = study.records()
    done = [record for record in records if record.complete]
    if not done:
        raise UserError("no trial completed: raise --minutes")
    scores = {r.number: frame for r in done if (frame := folder.read_scores(r.number)) is not None}
    base = next((record.number for record in done if record.origin == "no FreeU"), -1)
    front = find(done, job.directions, paired_spreads(scores, base, list(job.directions)), job.space)
    picked = confirm.candidates(front.picks, {record.number: record.factors for record in done})
    found = confirm.confirm(
        folder,
        again,
        picked,
        seed=config.seed,
        began=progress.confirming,
        failed=lambda number, reason: progress.say(f"trial {number} could not be confirmed: {reason}"),
        on_images=progress.images,
    )
    result = assembled(job, generator.identity, done, front, found)
    tracker.finish(result, records)
    write_json(folder.result, result)  # last: from now on the study counts as finished
    return result


def _guarded(evaluator: Evaluator, seed: int, folder: StudyFolder) -> Guarded:
    """The evaluator with guardrails beside its metrics."""
    from metrics import registry
    from search import prompts
    from search.evaluate import Evaluator
    from search.guardrails import NAMES, Guarded

    rails = {name: registry.build(name, {}, "cpu", Path()) for name in NAMES}
    generator, texts = evaluator.generator, evaluator.prompts
    again = Evaluator(generator, rails, texts, prompts.seeds(texts, seed, "guardrails"))
    return Guarded(Evaluator(generator, {**evaluator.metrics, **rails}, texts, evaluator.seeds), again, folder)


def _sealed(job: Job, identity: str) -> str:
    """Write the study's settings, its fingerprint now with the weights' identity; gives the fingerprint's digest."""
    import yaml

    from search import config as settings
    from search.plan import kept_fingerprint
    from search.records import replacing

    fingerprint = {**job.fingerprint, "weights": identity}
    if job.folder.config.exists():
        settings.same(job.config.name, kept_fingerprint(job.folder), fingerprint)
    kept = job.config.model_dump(mode="json") | {"model": job.spec.name, "device": job.plan.device}
    with replacing(job.folder.config) as temporary:
        temporary.write_text(yaml.safe_dump(kept | {"fingerprint": fingerprint}, sort_keys=False), "utf-8")
    return settings.stamp(fingerprint)


class _Watcher:
    """Hands what the study tells to the progress and to MLflow."""

    def __init__(self, progress: Progress, tracker: Tracker, folder: StudyFolder) -> None:
        self.progress, self.tracker, self.folder = progress, tracker, folder
        self.began, self.images = progress.began, progress.images

    def ended(self, record: TrialRecord) -> None:
        self.progress.ended(record)
        _track(self.tracker, self.folder, record)


def _clock(job: Job, began: float) -> Callable[[Sequence[TrialRecord]], bool]:
    """Whether another trial fits into --minutes, with the confirmation after it."""
    if job.config.minutes is None:
        return lambda records: True
    end = began + 60 * job.config.minutes

    def go_on(records: Sequence[TrialRecord]) -> bool:
        seconds = [record.seconds["total"] for record in records if record.complete]
        if len(seconds) < 2:  # no FreeU and one candidate, else there is nothing to say
            return True
        mean = sum(seconds) / len(seconds)
        reserve = mean * job.plan.passes * len(job.held_out) / len(job.prompts)
        return time.monotonic() + mean + reserve < end

    return go_on


if __name__ == "__main__":
    main(app)
