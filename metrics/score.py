"""`python -m metrics.score IMAGES`: scores of a folder of images, alone or beside another folder's in pairs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import configs
from configs import UserError, devices
from configs.cli import main, visible

if TYPE_CHECKING:
    from .base import Batch, Metric, Score
    from .folder_scores import ImageFolder

app = typer.Typer(add_completion=False)


def _list(asked: bool) -> None:
    if not asked:
        return
    from rich.console import Console
    from rich.table import Table

    from .registry import METRICS

    table = Table("metric", "better", "of each image", "needs at least", "asks", box=None)
    for info in METRICS.values():
        better = {"up": "higher", "down": "lower", "none": ""}[info.direction]
        table.add_row(info.name, better, "yes" if info.per_image else "no, of the set", str(info.min_n), info.asks)
    known = Table("metric", "agrees with people", "costs", "known failure", box=None)
    for name, told in configs.read_yaml(configs.path("metrics.yaml")).items():
        known.add_row(name, told["people"], told["cost"], told["fails"])
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(table)
    console.print()
    console.print(known)
    raise typer.Exit


@app.command()
def score(
    images: Annotated[str, typer.Argument(metavar="IMAGES", help="A folder of images.")],
    prompts: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Prompts: by the images' names where it has them, else in their order."),
    ] = None,
    metrics: Annotated[str, typer.Option(metavar="A,B", help="Metrics to compute; see --list.")] = "clip,aesthetic",
    base: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Images to compare with in pairs, as the baseline's.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE", help="Real images, for metrics of a set: a folder, table, .npz, or data set of the hub."
        ),
    ] = None,
    scorers: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Use the scorers of this model's YAML, such as shapes.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1 or mps (default: cuda where there is one).")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the intervals and p-values.")] = 0,
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write each image's scores to a .csv or .parquet.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the metrics and exit.", is_eager=True, callback=_list)
    ] = False,
) -> None:
    """Score a folder of images; with --base, also its difference from another folder, with a 95 % interval.

    Images are taken in the order of their names, 2 before 10. The frames of a video are scored as images.
    """
    from . import folder_scores, registry

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if not names:
        raise UserError("--metrics is empty: name at least one, as clip,aesthetic")
    infos = registry.describe_all(names)
    table = None if out is None else _writable(_place("--out", out))
    found = folder_scores.read_folder(
        _place("IMAGES", images), None if prompts is None else _place("--prompts", prompts)
    )
    others = None if base is None else _beside(found, _place("--base", base))
    folder_scores.check_possible(infos, found, others is not None)
    built = _built(names, reference, scorers, device)
    scores, of_base = folder_scores.score_folders(built, found, others)
    compared = {}
    if of_base:
        _note_sizes(*(next(iter(each.values())).batch for each in (scores, of_base)))
        compared = folder_scores.differences(scores, of_base, found.prompts, seed)
    if table is not None:
        _write(table, found, {name: each.score for name, each in scores.items()})
    rows = [_row(name, each.score, compared.get(name)) for name, each in scores.items()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _show(rows, compared=bool(compared))


def _place(flag: str, text: str) -> Path:
    if not text.strip():
        raise UserError(f"{flag} is empty: give a path")
    return Path(text).expanduser()


def _writable(out: Path) -> Path:
    """Checked before minutes are spent."""
    if out.suffix not in (".csv", ".parquet"):
        raise UserError(f"--out {out}: .csv and .parquet are written")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file in it")
    folder = out.absolute().parent
    if not folder.is_dir():
        raise UserError(f"--out {out}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UserError(f"--out {out}: the folder {folder} can't be written to; name another")
    return out


def _beside(images: ImageFolder, folder: Path) -> ImageFolder:
    from .folder_scores import read_base

    base, by_name = read_base(images, folder)
    if not by_name:
        first, last = (f"{images.names[place]} with {base.names[place]}" for place in (0, -1))
        _note(f"the folders share no names, so images are paired in order: {first}, …, {last}")
    return base


def _note_sizes(images: Batch, base: Batch) -> None:
    (height, width), (other_height, other_width) = (each.images.shape[-2:] for each in (images, base))
    if (height, width) != (other_height, other_width):
        _note(
            f"the images are {width}×{height} and the base's {other_width}×{other_height} pixels: measures of detail "
            "(sharpness, high_band, spectral_slope) depend on the size"
        )


def _note(text: str) -> None:
    typer.echo(visible(f"note: {text}"), err=True)


def _built(names: list[str], reference: str | None, scorers: str | None, device: str | None) -> list[Metric]:
    from . import registry
    from .reference_kinds import parse

    models, own, default = _scorers(scorers)
    place = _device(device)
    if reference is not None and not reference.strip():
        raise UserError("--reference is empty: name a folder, table, .npz, or data set of the hub")
    compared_with = default if reference is None else parse(reference)
    return [registry.build(name, own, place, models, compared_with) for name in names]


def _device(name: str | None) -> str:
    """Raises UserError where this machine has none of that name."""
    if name is not None:
        devices.check_present(name)
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _scorers(name: str | None) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """(what paths are relative to, what each metric reads, the default reference)."""
    common = configs.read_yaml(configs.path("scorers.yaml"))
    reference = common.pop("reference")
    if name is None:
        return Path.cwd(), common, reference
    file = configs.path("models", f"{name}.yaml")
    if not file.is_file():
        file = Path(name)
    if not file.is_file():
        raise configs.unknown("model", name, [each.stem for each in configs.path("models").glob("*.yaml")])
    own = configs.read_yaml(file)
    given = {"scorers": own.get("scorers") or {}, "reference": own.get("reference") or reference}
    for key, value in given.items():
        if not isinstance(value, Mapping):
            raise UserError(f"{file}: {key} is {value!r}: 'key: value' lines are expected")
    return file.resolve().parent, {**common, **given["scorers"]}, given["reference"]


def _row(name: str, found: Score, compared: dict[str, float] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "metric": name,
        "version": found.version,
        "better": {"up": "higher", "down": "lower", "none": None}[found.direction],
        "value": found.value,
        "standard_error": found.spread,
        "n": found.n,
    }
    values = {**row, **(compared or {})}
    return {key: None if isinstance(each, float) and each != each else each for key, each in values.items()}


def _show(rows: list[dict[str, Any]], compared: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ["metric", "better", "value", "± s.e.", "n"]
    columns += ["base", "difference", "95 %", "wins", "p (Holm)"] if compared else []
    table = Table(*columns, box=None)
    for row in rows:
        spread = "" if row["standard_error"] is None else f"{row['standard_error']:.3g}"
        cells = [row["metric"], row["better"] or "", f"{row['value']:.5g}", spread, str(row["n"])]
        if compared:
            wins = "" if row["win_rate"] is None else f"{row['win_rate']:.0%}"
            interval = "" if row["low"] is None else f"[{row['low']:+.3g}, {row['high']:+.3g}]"
            cells += [f"{row['base']:.5g}", f"{row['difference']:+.4g}", interval, wins, f"{row['p_holm']:.3g}"]
        table.add_row(*cells)
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(table)


def _write(out: Path, images: ImageFolder, scores: dict[str, Score]) -> None:
    import pandas as pd

    columns = {name: each.per_image for name, each in scores.items() if each.per_image is not None}
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    try:
        table = pd.DataFrame({"image": images.names, "prompt": images.prompts, **columns})
        if out.suffix == ".csv":
            table.to_csv(part, index=False)
        else:
            table.to_parquet(part, index=False)
        part.replace(out)
    except (OSError, ValueError) as error:  # a ValueError where a file's name is no text
        part.unlink(missing_ok=True)
        raise UserError(f"can't write --out {out}: {error}") from error


if __name__ == "__main__":
    main(app)
