"""`python -m search.run`: a study from its settings to its verdict. The only place that names concrete parts.

Heavy imports stand inside functions: `--help` and `--dry-run` load neither torch nor Optuna nor MLflow.
"""

from __future__ import annotations

import functools
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.cli import INTERRUPTED, main
from search import flags

if TYPE_CHECKING:
    from rich.console import Console

    from search.config import StudyConfig
    from search.outbox import Outbox
    from search.parts import Load
    from search.plan import Job

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    model: flags.Model = None,
    loras: flags.Loras = None,
    embeddings: Annotated[
        list[str] | None,
        typer.Option("--embedding", metavar="FILE[:TOKEN]", help="A textual inversion; several times."),
    ] = None,
    vae: Annotated[str | None, typer.Option(metavar="PLACE", help="Another VAE: a folder or safetensors.")] = None,
    unet: flags.UNet = None,
    controlnet: Annotated[
        str | None, typer.Option(metavar="PLACE", help="A ControlNet for edges: redraws the --input video.")
    ] = None,
    motion_adapter: Annotated[
        str | None, typer.Option(metavar="PLACE", help="AnimateDiff's: Stable Diffusion makes videos.")
    ] = None,
    refiner: Annotated[str | None, typer.Option(metavar="PLACE", help="SDXL's, for the end of each run.")] = None,
    input_: flags.Input = None,
    strength: Annotated[
        float | None, typer.Option(metavar="X", help="How far from its input an image goes, to 1 [the model's].")
    ] = None,
    frames: flags.Frames = None,
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
    trials: Annotated[int | None, typer.Option(metavar="N", help="Complete trials [64].")] = None,
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
    images: Annotated[
        int | None, typer.Option(metavar="N", help="Images for all of it, confirmation included.")
    ] = None,
    gpu_hours: Annotated[
        float | None, typer.Option(metavar="H", help="Hours of work of all devices, confirmation included.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(metavar="N", help="End when N trials brought the front nothing [never].")
    ] = None,
    guardrails: Annotated[
        bool | None, typer.Option("--guardrails/--no-guardrails", help="Keep colour, contrast, detail in bounds [on].")
    ] = None,
    version: flags.Version = None,
    stages: flags.Stages = None,
    sampler: Annotated[
        str | None, typer.Option(metavar="NAME", help="gp, tpe, nsga2, nsga3, qmc, random, grid [gp].")
    ] = None,
    space: Annotated[
        str | None, typer.Option(metavar="FILE", help="YAML of ranges and more dimensions [four wide ranges].")
    ] = None,
    start_from: Annotated[
        list[str] | None, typer.Option("--from", metavar="STUDY|FILE", help="Try its best first; several times.")
    ] = None,
    racing: Annotated[
        bool | None, typer.Option("--racing/--no-racing", help="All prompts for promising candidates alone [on].")
    ] = None,
    low_steps: Annotated[
        int | None, typer.Option(metavar="N", help="Fewer steps on a first rung, if they rank alike [off].")
    ] = None,
    cache: Annotated[
        bool | None, typer.Option("--cache/--no-cache", help="No image that was scored before is made again [on].")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes that evaluate, a GPU each where there are [1].")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS|local", help="Workers on a Ray cluster; needs ray.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="postgresql://…, for several machines; needs psycopg.")
    ] = None,
    tracking_uri: flags.TrackingUri = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of candidates, noise and statistics [0].")] = None,
    steps: flags.Steps = None,
    guidance: flags.Guidance = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Images at a time; changes no score's meaning [the model's]."),
    ] = None,
    device: flags.Device = None,
    dtype: flags.Dtype = None,
    slicing: Annotated[bool | None, typer.Option("--slicing", help="Attention in slices: less memory.")] = None,
    offload: Annotated[bool | None, typer.Option("--offload", help="Networks on the device in turns.")] = None,
    compile_: Annotated[bool | None, typer.Option("--compile", help="Compile the U-Net: slow start.")] = None,
    mlruns: flags.Mlruns = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML with any of these flags as keys; flags win.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and end.")] = False,
) -> None:
    """Find the FreeU factors that suit a model, and see whether they help at all.

    The same command again goes on with the study where it was.
    """
    given = {key.rstrip("_"): value for key, value in locals().items() if key not in ("config", "dry_run")}
    from rich.console import Console

    from search.config import load
    from search.plan import prepare

    # The tables want some 100 columns; a file or a pipe has as many as one likes.
    settings, console = load(config, given), Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    if dry_run:
        for line in prepare(settings).plan.lines():
            console.print(line, markup=False, soft_wrap=True)
        return
    signal.signal(signal.SIGTERM, _interrupt)
    execute(settings, console)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def execute(config: StudyConfig, console: Console, load: Load | None = None) -> dict[str, Any]:
    """Run a study, or go on with it, to its result (as result.json holds it). load: makes model and metrics."""
    from search import result as results
    from search.outbox import Outbox
    from search.parts import load_parts
    from search.plan import prepare
    from search.progress import Progress
    from search.session import Session
    from search.track import Tracker

    began = time.monotonic()
    job = prepare(config)
    config = job.config
    tracker = Tracker(config.mlruns, config.name, config.tracking_uri)
    if (result := _finished(job)) is not None:
        console.print(
            f"study '{config.name}' is finished, with {result['trials']} trials; more go on with --trials",
            markup=False,
        )
        _caught_up(job, Outbox(tracker, job.folder, functools.partial(console.print, markup=False)), result)
        results.show(console, job, result)
        return result
    # On a server the study is everyone's, and its storage holds the locks.
    with nullcontext() if config.storage else job.folder.locked():
        for line in job.plan.lines():
            console.print(line, markup=False, soft_wrap=True)
        progress = Progress(console, job.directions, config.trials, len(job.prompts), job.plan.passes)
        outbox = Outbox(tracker, job.folder, progress.say)
        try:
            with progress:
                result = Session(job, load or load_parts, progress, outbox, began).run()
        except KeyboardInterrupt:
            console.print(f"interrupted: the same command goes on with study '{config.name}'", markup=False)
            outbox.interrupt()
            raise typer.Exit(INTERRUPTED) from None
        except BaseException:
            outbox.interrupt()
            raise
    results.show(console, job, result)
    return result


def _finished(job: Job) -> dict[str, Any] | None:
    """The result, where it is that of all complete trials and no more are asked for."""
    result = job.folder.read_result()
    if result is None or not result["trials"] == job.plan.done >= job.config.trials:
        return None
    return result


def _caught_up(job: Job, outbox: Outbox, result: dict[str, Any]) -> None:
    """Log what MLflow lacks of a finished study, as where it was away: it is a view of the study's folder."""
    from search import config as settings
    from search.outbox import stamp
    from search.plan import kept_fingerprint
    from search.session import follow
    from search.store import holds

    place, records = outbox.tracker.settings, job.folder.read_trials()
    if holds(place, "freeu.result", stamp(result)) if place.own else outbox.has(result, records):
        return
    fingerprint = settings.stamp(kept_fingerprint(job.folder))
    with job.folder.locked():
        follow(outbox, job, fingerprint, str(result["model_identity"]), records, live=False)
        outbox.finish(result, records)


if __name__ == "__main__":
    main(app)
