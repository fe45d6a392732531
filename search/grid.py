"""`python -m search.grid`: images over two factors, with the baseline in the corner, as one PNG and in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import UserError, unknown
from configs.cli import main, visible
from configs.console import command_console, tell
from search.settings import completions, flags
from search.storage import StudyFolder, studies
from search.storage.files import replacing

if TYPE_CHECKING:
    import torch

    from freeu import Factors
    from freeu.generate import Generator
    from search.analysis.factor_grid import Axis
    from search.settings.config import StudyConfig

SETTINGS = (
    *("model", "loras", "embeddings", "vae", "unet", "input", "frames", "steps", "guidance", "study", "prompts"),
    *("objectives", "version", "stages", "seed", "batch_size", "device", "dtype", "mlruns", "tracking_uri"),
)
"""Of a study's settings, those that say how images are made and scored and where results go; others by --config."""
FEW = 2  # prompts of the set, where none is given
SIDE = 256

app = typer.Typer(add_completion=False)


@app.command()
@flags.with_settings(*SETTINGS, said={"study": "Study whose settings and picks are taken, or a name for the picture"})
def grid(
    given: dict[str, Any],
    x: Annotated[
        str | None,
        typer.Option("--x", metavar="b1=1:1.6:5", help="Factor from left to right (default: b1 around the middle)."),
    ] = None,
    y: Annotated[
        str | None,
        typer.Option("--y", metavar="s1=0.2:1:5", help="Factor from top to bottom (default: s1 around the middle)."),
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", metavar="TEXT", help="Prompt; repeatable (default: two of the set).")
    ] = None,
    pick: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A pick of the study, for the middle (default: the verdict's, or published).",
            autocompletion=completions.picks,
        ),
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Preset for the middle instead.")
    ] = None,
    side: Annotated[
        int,
        typer.Option(
            min=32, max=2048, metavar="N", help=f"Pixels of a tile at most (default: {SIDE}).", show_default=False
        ),
    ] = SIDE,
    config: flags.ConfigFile = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PNG to write (default: in grids/ of the results folder).")
    ] = None,
) -> None:
    """Draw images over two factors beside the baseline: an X/Y plot, also round a study's pick."""
    from search.analysis.factor_grid import around, axis
    from search.settings.reading import load

    if pick is not None and from_file is not None:
        raise UserError(f"give either --pick {pick} or --from {from_file}: what stands in the middle")
    settings = load(config, given)
    folder = StudyFolder(settings.mlruns, settings.name)
    if given.get("study") is not None and settings.name in studies(settings.mlruns):
        settings = load(folder.config, given | {"mlruns": settings.mlruns})
    elif pick is not None:
        raise UserError(f"--pick {pick}: name its study with --study; {settings.mlruns} has no '{settings.name}'")
    middle = _middle(settings, folder, pick, from_file)
    axes = [axis(text, f"--{name}") if text else None for name, text in (("x", x), ("y", y))]
    for place, name in enumerate(("b1", "s1")):
        if axes[place] is None:
            taken = {each.name for each in axes if each is not None}
            axes[place] = around(name if name not in taken else {"b1": "b2", "s1": "s2"}[name], middle)
    across, down = axes
    assert across is not None and down is not None
    file = out or settings.mlruns / "grids" / f"{settings.name}-{across.name}-{down.name}.png"
    if file.suffix.lower() != ".png":
        raise UserError(f"--out {file}: a grid is a PNG: name a .png file")
    if file.is_dir():
        raise UserError(f"--out {file} is a folder: name a file in it, as {file / 'grid.png'}")
    drawn(settings, across, down, middle, prompt or [], side, file.expanduser())


def drawn(
    settings: StudyConfig, x: Axis, y: Axis, middle: Factors, prompts: Sequence[str], side: int, file: Path
) -> None:
    """Draw, score, write and log. Raises UserError."""
    from metrics.base import Batch
    from search.analysis.factor_grid import candidates, draw, stacked
    from search.evaluation.loading import load_parts
    from search.settings import prompts as prompt_sets
    from search.settings.model import objectives, resolve
    from search.storage.mlflow_location import check_folder
    from search.tracking.figures_run import log_files

    each = candidates(x, y, middle)
    spec, _, prompt_set = resolve(settings)
    texts = list(prompts) or [one.text for one in prompt_sets.limited(prompt_sets.split(prompt_set)[0], FEW)]
    single = [info.name for info in objectives(settings.objectives or spec.objectives) if info.per_image]
    lean = {"objectives": tuple(single), "judges": ("none",), "compile": False}
    generator, metrics = load_parts(settings.model_copy(update=lean), spec)
    generator.prepare(texts)
    tell(f"{len(each)} images of {f'each of {len(texts)} prompts' if len(texts) > 1 else '1 prompt'}")
    seeds, pictures = prompt_sets.seeds(texts, settings.seed, "grid"), []
    drawn = _images(generator, texts, seeds, each)
    for text, seed, images in zip(texts, seeds, drawn, strict=True):
        frames = images.shape[1] if images.ndim == 5 else 1
        batch = Batch(images.flatten(0, 1) if frames > 1 else images, (text,) * (len(each) * frames), frames)
        found = {name: metric.score(batch).per_image for name, metric in metrics.items()}
        means = {name: v.reshape(len(each), -1).mean(1) for name, v in found.items() if v is not None}
        scores = [{name: float(value[i]) for name, value in means.items()} for i in range(len(each))]
        pictures.append(draw(images, x, y, visible(f"{text} (seed {seed})"), scores, side))
    try:
        with replacing(file) as temporary:
            stacked(pictures).save(temporary, format="PNG")
    except OSError as error:
        raise UserError(f"can't write {file}: {error.strerror}; give another file with --out") from error
    tell(f"wrote {file}")
    params = {"x": f"{x.name} {x.values}", "y": f"{y.name} {y.values}", "middle": str(middle), "model": spec.name}
    place = check_folder(settings.mlruns, settings.tracking_uri)
    log_files(place, f"grid of {settings.name}", params, {}, f"{x.name} and {y.name} round {middle}", [file])


def _images(
    generator: Generator, texts: Sequence[str], seeds: Sequence[int], candidates: Sequence[Factors]
) -> Iterator[torch.Tensor]:
    """Of each prompt the images of all candidates, with a bar on a terminal."""
    import torch
    from rich.progress import Progress

    console = command_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("drawing", total=len(texts) * len(candidates))
        for text, seed in zip(texts, seeds, strict=True):
            images = []
            for factors in candidates:
                images.append(generator.generate([text], [seed], factors))
                bars.advance(bar)
            yield torch.cat(images)


def _middle(settings: StudyConfig, folder: StudyFolder, pick: str | None, from_file: Path | None) -> Factors:
    """What has the factors that no axis has: a preset's, a pick's, or the published ones."""
    from freeu import Factors, presets
    from freeu.models import load_spec

    if from_file is not None:
        return presets.read(from_file).factors
    result = folder.read_result() if folder.config.exists() else None
    name = pick or (result or {}).get("take_away")
    if name is not None:
        known = {each["pick"]: each["factors"] for each in (result or {}).get("picks", [])}
        if name not in known:
            raise unknown("pick", name, known) if known else UserError(f"--pick {name}: the study has no picks yet")
        return Factors.from_dict(known[name])
    published = load_spec(settings.model).published
    factors = published.factors() if published is not None else Factors(1.3, 1.4, 0.9, 0.2)
    return replace(factors, version=settings.version, stages=settings.stages)


if __name__ == "__main__":
    main(app)
