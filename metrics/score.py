"""`python -m metrics.score IMAGES`: scores of a folder of images, alone or beside another folder's in pairs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import configs
from configs import UserError, devices
from configs.cli import main
from configs.completing import listed, models
from configs.console import Column, command_console, table, tell
from configs.whole_files import replacing, sweep

if TYPE_CHECKING:
    from .base import Batch, Metric, Score
    from .folder_scores import ImageFolder

app = typer.Typer(add_completion=False)


def _names() -> Iterable[str]:
    """Of all metrics."""
    from .registry import METRICS

    return METRICS


def _list(asked: bool) -> None:
    if not asked:
        return
    from .registry import METRICS

    console, infos = command_console(), METRICS.values()
    columns = [
        Column("metric", [info.name for info in infos]),
        Column("better", [{"up": "higher", "down": "lower", "none": ""}[info.direction] for info in infos]),
        Column("of each image", ["yes" if info.per_image else "no, of the set" for info in infos], rank=1),
        Column("at least", [str(info.min_n) for info in infos], number=True, rank=1),
        Column("asks", [info.asks for info in infos]),
    ]
    console.print(table(console, columns))
    told = configs.read_yaml(configs.path("metrics.yaml"))
    known = [
        Column("metric", [*told]),
        Column("agrees with people", [each["people"] for each in told.values()]),
        Column("costs", [each["cost"] for each in told.values()]),
        Column("known failure", [each["fails"] for each in told.values()]),
    ]
    console.print()
    console.print(table(console, known))
    raise typer.Exit


@app.command()
def score(
    images: Annotated[str, typer.Argument(metavar="IMAGES", help="A folder of images.")],
    prompts: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Prompts: by the images' names where it has them, else in their order."),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Metrics to compute; see --list (default: clip,aesthetic).",
            show_default=False,
            autocompletion=listed(_names),
        ),
    ] = "clip,aesthetic",
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
        str | None,
        typer.Option(
            metavar="MODEL", help="Use the scorers of this model's YAML, such as shapes.", autocompletion=models
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1 or mps (default: cuda where there is one).")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Seed of the intervals and p-values (default: 0).", show_default=False),
    ] = 0,
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
    tell(f"note: {text}", err=True)


def _built(names: list[str], reference: str | None, scorers: str | None, device: str | None) -> list[Metric]:
    from . import registry
    from .reference_kinds import parse

    models, own, default = _scorers(scorers)
    place = devices.chosen(device)
    if reference is not None and not reference.strip():
        raise UserError("--reference is empty: name a folder, table, .npz, or data set of the hub")
    compared_with = default if reference is None else parse(reference)
    return [registry.build(name, own, place, models, compared_with) for name in names]


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
    def column(head: str, key: str, form: str, rank: int = 0) -> Column:
        return Column(head, ["" if row[key] is None else format(row[key], form) for row in rows], True, rank)

    columns = [Column("metric", [row["metric"] for row in rows])]
    columns.append(Column("better", [row["better"] or "" for row in rows], rank=1))
    columns += [column("value", "value", ".5g"), column("± s.e.", "standard_error", ".3g", 2), column("n", "n", "d", 3)]
    if compared:
        ends = ["" if row["low"] is None else f"[{row['low']:+.3g}, {row['high']:+.3g}]" for row in rows]
        columns += [column("base", "base", ".5g"), column("difference", "difference", "+.4g"), Column("95 %", ends)]
        columns += [column("wins", "win_rate", ".0%", 2), column("p (Holm)", "p_holm", ".3g")]
    console = command_console()
    console.print(table(console, columns))


def _write(out: Path, images: ImageFolder, scores: dict[str, Score]) -> None:
    import pandas as pd

    columns = {name: each.per_image for name, each in scores.items() if each.per_image is not None}
    sweep(out.parent, deep=False)
    try:
        table = pd.DataFrame({"image": images.names, "prompt": images.prompts, **columns})
        with replacing(out) as part:
            if out.suffix == ".csv":
                table.to_csv(part, index=False)
            else:
                table.to_parquet(part, index=False)
    except (OSError, ValueError) as error:  # a ValueError where a file's name is no text
        raise UserError(f"can't write --out {out}: {error}") from error


if __name__ == "__main__":
    main(app)
