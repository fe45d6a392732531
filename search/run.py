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
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.cli import INTERRUPTED, main
from search import flags, stopping

if TYPE_CHECKING:
    from rich.console import Console

    from search.config import StudyConfig
    from search.outbox import Outbox
    from search.parts import Load
    from search.plan import Job

app = typer.Typer(add_completion=False)


@app.command()
def run(
    model: flags.Model = None,
    loras: flags.Loras = None,
    embeddings: Annotated[
        list[str] | None,
        typer.Option(
            "--embedding",
            metavar="FILE[:TOKEN]",
            help="A textual inversion; several times.",
            rich_help_panel=flags.MODEL,
        ),
    ] = None,
    vae: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Another VAE: a folder or safetensors.", rich_help_panel=flags.MODEL),
    ] = None,
    unet: flags.UNet = None,
    controlnet: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="A ControlNet for edges: redraws the --input video.", rich_help_panel=flags.MODEL
        ),
    ] = None,
    motion_adapter: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="AnimateDiff's: Stable Diffusion makes videos.", rich_help_panel=flags.MODEL
        ),
    ] = None,
    refiner: Annotated[
        str | None, typer.Option(metavar="PLACE", help="SDXL's, for the end of each run.", rich_help_panel=flags.MODEL)
    ] = None,
    input_: flags.Input = None,
    strength: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="How far from its input an image goes, to 1 (default: the model's).",
            rich_help_panel=flags.MODEL,
        ),
    ] = None,
    frames: flags.Frames = None,
    every: Annotated[
        int | None,
        typer.Option(metavar="N", help="Redraw each N-th frame (default: the model's).", rich_help_panel=flags.MODEL),
    ] = None,
    pipeline_config: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="How a single-file checkpoint is laid out: a diffusers folder like it.",
            rich_help_panel=flags.MODEL,
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS", help='What stands for {subject} in prompts, as "a sks dog".', rich_help_panel=flags.SCORES
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Study to begin or go on with (default: the model's name).",
            rich_help_panel=flags.PLACE,
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Complete trials (default: 64).", rich_help_panel=flags.BUDGET)
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(metavar="M", help="Time for all of it, confirmation included.", rich_help_panel=flags.BUDGET),
    ] = None,
    prompts: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Prompt set: a name, or txt, csv, tsv, json, jsonl (default: the model's).",
            rich_help_panel=flags.SCORES,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Prompts a trial (default: 48).", rich_help_panel=flags.SCORES)
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="As clip,aesthetic,fid (default: the model's).", rich_help_panel=flags.SCORES),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Real images: folder, table, .npz or hub id (default: the model's).",
            rich_help_panel=flags.SCORES,
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(metavar="N", help="Images for all of it, confirmation included.", rich_help_panel=flags.BUDGET),
    ] = None,
    gpu_hours: Annotated[
        float | None,
        typer.Option(
            metavar="H", help="Hours of work of all devices, confirmation included.", rich_help_panel=flags.BUDGET
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="End when N trials brought the front nothing (default: never).",
            rich_help_panel=flags.BUDGET,
        ),
    ] = None,
    guardrails: Annotated[
        bool | None,
        typer.Option(
            "--guardrails/--no-guardrails",
            help="Keep colour, contrast, detail in bounds (default: on).",
            rich_help_panel=flags.SCORES,
        ),
    ] = None,
    version: flags.Version = None,
    stages: flags.Stages = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="gp, tpe, nsga2, nsga3, qmc, random, grid (default: gp).", rich_help_panel=flags.SEARCH
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="YAML of ranges and more dimensions (default: four wide ranges).",
            rich_help_panel=flags.SEARCH,
        ),
    ] = None,
    start_from: Annotated[
        list[str] | None,
        typer.Option(
            "--from", metavar="STUDY|FILE", help="Try its best first; several times.", rich_help_panel=flags.SEARCH
        ),
    ] = None,
    racing: Annotated[
        bool | None,
        typer.Option(
            "--racing/--no-racing",
            help="All prompts for promising candidates alone (default: on).",
            rich_help_panel=flags.SEARCH,
        ),
    ] = None,
    low_steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Fewer steps on a first rung, if they rank alike (default: off).",
            rich_help_panel=flags.SEARCH,
        ),
    ] = None,
    cache: Annotated[
        bool | None,
        typer.Option(
            "--cache/--no-cache",
            help="No image that was scored before is made again (default: on).",
            rich_help_panel=flags.SEARCH,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processes that evaluate, a GPU each where there are (default: 1).",
            rich_help_panel=flags.MACHINE,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local", help="Workers on a Ray cluster; needs ray.", rich_help_panel=flags.MACHINE
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="postgresql://…, for several machines; needs psycopg.", rich_help_panel=flags.PLACE
        ),
    ] = None,
    tracking_uri: flags.TrackingUri = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Of candidates, noise and statistics (default: 0).", rich_help_panel=flags.SEARCH
        ),
    ] = None,
    steps: flags.Steps = None,
    guidance: flags.Guidance = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Images at a time; changes no score's meaning (default: the model's).",
            rich_help_panel=flags.MACHINE,
        ),
    ] = None,
    device: flags.Device = None,
    dtype: flags.Dtype = None,
    slicing: Annotated[
        bool | None, typer.Option("--slicing", help="Attention in slices: less memory.", rich_help_panel=flags.MACHINE)
    ] = None,
    offload: Annotated[
        bool | None, typer.Option("--offload", help="Networks on the device in turns.", rich_help_panel=flags.MACHINE)
    ] = None,
    compile_: Annotated[
        bool | None, typer.Option("--compile", help="Compile the U-Net: slow start.", rich_help_panel=flags.MACHINE)
    ] = None,
    mlruns: flags.Mlruns = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML with any of these flags as keys; flags win.", rich_help_panel=flags.PLACE
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and end.", rich_help_panel=flags.PLACE)
    ] = False,
) -> None:
    """Find the FreeU factors that suit a model, and see whether they help at all.

    The same command again goes on with the study where it was.
    """
    given = {key.rstrip("_"): value for key, value in locals().items() if key not in ("config", "dry_run")}
    from rich.console import Console

    from search.config import load
    from search.plan import check_enough, prepare

    # The tables want some 100 columns; a file or a pipe has as many as one likes.
    settings, console = load(config, given), Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    if dry_run:
        job = prepare(settings)
        check_enough(job)
        for line in job.plan.lines():
            console.print(line, markup=False, soft_wrap=True)
        return
    signal.signal(signal.SIGTERM, stopping.interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else Ctrl-C is ignored, as in the background
        signal.signal(signal.SIGINT, stopping.interrupt)
    execute(settings, console)


def execute(config: StudyConfig, console: Console, load: Load | None = None) -> dict[str, Any]:
    """Run a study, or go on with it, to its result (as result.json holds it). load: makes model and metrics."""
    from search import result as results
    from search.outbox import Outbox
    from search.parts import load_parts
    from search.plan import check_enough, prepare
    from search.progress import Progress
    from search.session import Session
    from search.track import Tracker

    began = time.monotonic()
    job = prepare(config)
    if load is None:
        check_enough(job)
    config = job.config
    tracker = Tracker(config.mlruns, config.name, config.tracking_uri)
    if (result := _finished(job)) is not None:
        console.print(
            f"study '{config.name}' is finished, with {result['trials']} trials; a larger --trials goes on with it",
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
