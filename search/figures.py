"""`python -m search.figures`: the paper's analysis on any base model: why FreeU may help, where to look for factors.

Writes the figures (PNG, SVG), the data behind each (Parquet), a page that explains them, and the ranges of b and s that
keep the guardrails, as a YAML for the search; and logs all of it to MLflow.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import UserError
from configs.cli import main, typed
from configs.console import Column, command_console, say, table
from search.settings import flags, sampling

if TYPE_CHECKING:
    from rich.console import Console

    from freeu import Factors
    from freeu.models import ModelSpec
    from search.analysis.claims import Claim
    from search.analysis.passes import Passes
    from search.analysis.ranges import Suggested
    from search.settings.config import StudyConfig

app = typer.Typer(add_completion=False)
FEWEST = 9
"""Prompts below which no claim could hold or fail: flips of n signs give a p of 2 / 2^n at the least, and for 12 claims
Holm's correction takes it times 12, which is 0.047 at 9. And intervals of 95 % cover 94 at 8 prompts, but 75 at 3."""
USUAL = (1.3, 1.4, 0.9, 0.2)
"""Where nobody published factors for a model: those of Stable Diffusion 1.4."""


SETTINGS = (
    *(
        "model",
        "loras",
        "unet",
        "input",
        "frames",
        "steps",
        *("guidance", "guidance_rescale", "negative_prompt", "scheduler", "eta", "clip_skip", "size"),
        "study",
        "prompts",
        "limit",
        "version",
        "stages",
    ),
    *("seed", "batch_size", "device", "dtype", "mlruns", "tracking_uri"),
)
"""Of a study's settings, those that say how images are made and where results go; others by --config."""


@app.command()
@flags.with_settings(*SETTINGS, said={"study": "What the figures and their folder are named by"}, limit=16)
def figures(
    given: dict[str, Any],
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Preset with the factors to look at (default: the published ones)."
        ),
    ] = None,
    config: flags.ConfigFile = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder to write (default: figures/NAME in the results folder)."),
    ] = None,
) -> None:
    """Repeat the paper's analysis on a base model: why FreeU may help, and where to look for factors."""
    from search.settings.reading import load

    analyse(load(config, given), command_console(), out, from_file)


def analyse(config: StudyConfig, console: Console, out: Path | None = None, from_file: Path | None = None) -> Path:
    """Do all of it; gives the folder. Raises UserError."""
    began = time.monotonic()
    from freeu.models import load_spec
    from search.settings import prompts, served
    from search.settings.model import resolve

    if served.is_served(load_spec(config.model)):
        raise UserError(
            f"--model {config.model} is drawn by a server, into which no hooks reach: the analysis needs a U-Net of "
            "diffusers, as a checkpoint or a folder"
        )
    spec, chosen, prompt_set = resolve(config)
    if spec.sizes:
        raise UserError(f"--size is given {len(spec.sizes)} times, and figures are of images of one size: give one")
    texts = tuple(prompt.text for prompt in prompts.limited(prompts.split(prompt_set)[0], config.limit))
    if len(texts) < FEWEST:
        raise UserError(
            f"{len(texts)} prompts are too few for any claim to hold or fail: give {FEWEST} or more with --limit and "
            "--prompts (the search's half of the set is used)"
        )
    factors = _factors(config, spec, from_file)
    folder = (out or config.mlruns / "figures" / config.name).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file: name a folder")
    say(console, f"{config.name}: {len(texts)} prompts, some 20 images of each")
    found, suggested = _drawn(config, spec, texts, factors, console)
    from search.analysis.claims import claims

    tested = claims(found, config.seed)
    files, words = _written(config, spec, chosen, found, suggested, tested, folder)
    _show(console, tested, words)
    took = f"({time.monotonic() - began:.0f} s)"
    say(console, f"wrote {folder / 'index.html'}, {len(files) - 1} files beside it {took}")
    from search.storage.mlflow_location import check_folder
    from search.tracking.figures_run import log_figures

    numbers = {f"{claim.name}.{key}": getattr(claim.result, key) for claim in tested for key in ("mean", "low", "high")}
    numbers |= {
        f"{name}.{side}": end
        for name, box in zip("bs", suggested.box, strict=True)
        for side, end in zip(("low", "high"), box, strict=True)
    }
    params = {key: str(value) for key, value in words["facts"].items()}
    place = check_folder(config.mlruns, config.tracking_uri)
    log_figures(place, config.name, params, numbers, words["diagnosis"], files)
    return folder


def _factors(config: StudyConfig, spec: ModelSpec, from_file: Path | None) -> Factors:
    """The FreeU to look at, under the version and convention of the settings unless a preset has its own."""
    from freeu import Factors, presets

    if from_file is not None:
        found = presets.read(from_file).factors
        if found.identity:
            raise UserError(f"--from {from_file}: its factors change nothing; give a preset that does")
        return found
    published = spec.published.factors() if spec.published is not None else Factors(*USUAL)
    return replace(published, version=config.version, stages=config.stages)


def _drawn(
    config: StudyConfig, spec: ModelSpec, texts: Sequence[str], factors: Factors, console: Console
) -> tuple[Passes, Suggested]:
    """All images, and what is measured on them."""
    from search.analysis.passes import Runner
    from search.analysis.ranges import suggest
    from search.evaluation.loading import load_parts
    from search.settings import prompts

    said = console.status("loading the model") if console.is_terminal else nullcontext()
    with said as status:

        def told(name: str) -> None:
            if status is not None:
                status.update(f"drawing {len(texts)} images: {name}")

        # Hooks come and go, for which a compiled U-Net would be compiled again.
        generator, _ = load_parts(config.model_copy(update={"objectives": (), "compile": False}), spec)
        others = prompts.seeds(texts, config.seed, "figures, again")
        runner = Runner(generator, texts, prompts.seeds(texts, config.seed, "figures"), others)
        generator.prepare(texts)
        found = runner.all(factors, told)

        def draw(name: str, each: Factors) -> None:
            told(name)
            runner.add(found, name, each)

        suggested = suggest(found, draw, config.seed)
        told("the figures")
    for name, reason in found.failed.items():
        say(console, f"no images under {name}: {reason}")
    return found, suggested


def _written(
    config: StudyConfig,
    spec: ModelSpec,
    chosen: str,
    found: Passes,
    suggested: Suggested,
    tested: Sequence[Claim],
    folder: Path,
) -> tuple[list[Path], dict[str, Any]]:
    """Write all files; gives them, the page first, and the words of the diagnosis."""
    from search.analysis import gallery, ranges, style, tables, words
    from search.analysis.page import page
    from search.storage.files import replacing

    folder.mkdir(parents=True, exist_ok=True)
    f, space = found.factors, folder / "space.yaml"
    ranges.save(suggested, f, config.name, space)
    with style.styled():
        drawn, maps = gallery.gallery(found, suggested)
        drawings = {each.name: style.save(each, folder) for each in drawn}
    data = {**tables.tables(found, tested, suggested), **maps}
    for name, found_there in data.items():
        tables.save(found_there, folder / f"{name}.parquet")
    said: dict[str, Any] = {
        "model": config.name,
        "diagnosis": words.diagnosis(found, tested, config.name),
        "where": words.where(suggested),
        "prompts": len(found.prompts),
        "space": space.read_text("utf-8"),
        "command": f"{typed('run')} --model {shlex.quote(config.model)} --space {shlex.quote(str(space))}",
        "facts": {
            "prompts": f"{len(found.prompts)} of '{Path(chosen).name}'",
            "size": f"{spec.image_size[1]}×{spec.image_size[0]} pixels"
            + (f", {spec.frames} frames" if spec.frames > 1 else ""),
            "sampling": sampling.in_words(spec),
            "FreeU": f"b1 {f.b1:g}, b2 {f.b2:g}, s1 {f.s1:g}, s2 {f.s2:g}, {f.version} by {f.stages}",
            "seed": config.seed,
        },
    }
    index = folder / "index.html"
    with replacing(index) as temporary:
        temporary.write_text(page(drawn, drawings, tested, **said), "utf-8")
    shown = [folder / f"{each.name}.{kind}" for each in drawn for kind in ("png", "svg")]
    return [index, space, *shown, *(folder / f"{name}.parquet" for name in data)], said


def _show(console: Console, tested: Sequence[Claim], words: dict[str, Any]) -> None:
    from search.reporting.templating import signed

    found = [claim.result for claim in tested]
    columns = [
        Column("figure", [str(claim.figure) for claim in tested], number=True, rank=1),
        Column("the paper says", [claim.says for claim in tested]),
        Column("measured, 95 %", [f"{signed(r.mean)} [{signed(r.low)}, {signed(r.high)}]" for r in found]),
        Column("effect", [signed(claim.effect) for claim in tested], number=True, rank=2),
        Column("p (Holm)", [f"{claim.p_holm:.2g}" for claim in tested], number=True, rank=3),
        Column("here", [claim.verdict for claim in tested]),
    ]
    console.print(table(console, columns))
    say(console, "above 0: as the paper says; effect: the mean in standard deviations between prompts")
    say(console, "open: the interval contains 0, or p, corrected for all claims (Holm), is not below 0.05")
    for line in ("", words["diagnosis"], "", words["where"], ""):
        say(console, line)
    say(console, words["command"], indent=4, joint=" \\")


if __name__ == "__main__":
    main(app)
