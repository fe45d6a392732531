"""`python -m metrics.score IMAGES`: scores of a folder of images, alone or beside another folder's in pairs."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import configs
from configs import UserError
from configs.cli import main

if TYPE_CHECKING:
    from .base import Batch, Metric, Score

app = typer.Typer(add_completion=False, rich_markup_mode=None)


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
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    raise typer.Exit


@app.command()
def score(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="A folder of images, in the order of their names.")],
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Their prompts, in that order, or by a column 'image'.")
    ] = None,
    metrics: Annotated[str, typer.Option(metavar="A,B", help="What to score.")] = "clip,aesthetic",
    base: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Images to compare with in pairs.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="Real images for metrics of sets: a folder, table, .npz, or hub data set."),
    ] = None,
    scorers: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Encoders of a model's YAML, as shapes, in place of the usual.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="cpu, cuda or mps (default: cuda where there is one).")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of intervals and p-values.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Each image's scores, as csv or parquet.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Name the metrics and end.", is_eager=True, callback=_list)
    ] = False,
) -> None:
    """Score a folder of images; with --base also the difference to another one, with its 95 % interval.

    Images are taken in the order of their names (2 before 10). A video's frames are scored as images.
    """
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    if out is not None:
        _check(out)
    texts, files = _inputs(images, prompts)
    found, other = _scored(names, images, files, texts, base, reference, scorers, device)
    compared = _compared(found, other, texts, seed) if other is not None else {}
    if out is not None:
        _write(out, images, files, texts, {name: part for name, (_, part, _) in found.items()})
    rows = [_row(name, part, compared.get(name)) for name, (_, part, _) in found.items()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _show(rows, compared=bool(compared))


def _check(out: Path) -> None:
    """Before minutes are spent."""
    if out.suffix not in (".csv", ".parquet"):
        raise UserError(f"--out {out}: .csv and .parquet are written")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file in it")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.absolute().parent}")


def _inputs(folder: Path, prompts: Path | None) -> tuple[tuple[str, ...], list[Path]]:
    """(a prompt for each image, "" where none were given; the images)."""
    from configs.prompt_files import rows

    from .images import files, names_in
    from .matching import prompts_by_name

    found = files(folder)
    if prompts is None:
        return ("",) * len(found), found
    given = [row for row in rows(prompts) if row.text]
    by_image = {row.image: row.text for row in given if row.image}
    if by_image:
        return prompts_by_name(names_in(folder, found), by_image, prompts), found
    if len(given) != len(found):
        raise UserError(
            f"{prompts} holds {len(given)} prompts and {folder} {len(found)} images: give one for each image in the "
            "order of their names, or a table with the columns image and prompt"
        )
    return tuple(row.text for row in given), found


Found = dict[str, tuple["Metric", "Score", "Batch"]]


def _scored(
    names: list[str],
    folder: Path,
    files: list[Path],
    texts: tuple[str, ...],
    base: Path | None,
    reference: str | None,
    scorers: str | None,
    device: str | None,
) -> tuple[Found, Found | None]:
    """The metrics with their scores of the images, and of those of `base`."""
    from . import registry

    infos = [registry.describe(name) for name in names]
    if not names:
        raise UserError("--metrics is empty: name at least one, as clip,aesthetic")
    if (worded := [info.name for info in infos if info.name in WORDED]) and not any(texts):
        raise UserError(f"{', '.join(worded)} compares images with their prompts: give --prompts FILE")
    for info in infos:
        if len(files) < info.min_n:
            raise UserError(f"{info.name} needs at least {info.min_n} images, found {len(files)}")
    models, own, default = _scorers(scorers)
    import torch

    from .base import Batch
    from .images import files as images_of
    from .images import names_in, read
    from .matching import check_pairs
    from .places import parse

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    compared_with = parse(reference) if reference else default
    built = [registry.build(name, own, place, models, compared_with) for name in names]
    if base is None:
        batches = [Batch(read(files), texts)]
    else:
        others = images_of(base)
        check_pairs(names_in(folder, files), names_in(base, others), base)
        # The base's own base is itself, from which it drifts by 0.
        plain = Batch(read(others), texts)
        batches = [Batch(read(files), texts, base=plain), replace(plain, base=plain)]
    results: list[Found] = [{each.name: (each, each.score(batch), batch) for each in built} for batch in batches]
    return results[0], results[1] if base is not None else None


WORDED = ("clip", "hps", "pickscore", "image_reward")


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
    return file.resolve().parent, {**common, **own.get("scorers", {})}, own.get("reference") or reference


def _compared(found: Found, other: Found, texts: tuple[str, ...], seed: int) -> dict[str, dict[str, float]]:
    """What differs between the two, in pairs; Holm's correction covers all metrics that were compared."""
    import numpy as np

    from . import stats

    clusters = texts if any(texts) else tuple(map(str, range(len(texts))))
    pairs: dict[str, stats.Paired] = {}
    for name, (metric, here, batch) in found.items():
        _, there, before = other[name]
        rng = np.random.default_rng([seed, len(pairs)])
        if here.per_image is not None and there.per_image is not None:
            pairs[name] = stats.paired(here.per_image, there.per_image, clusters, rng)
        else:
            sets: Any = metric
            features, distances = (sets.features(batch), sets.features(before)), getattr(sets, "distances", None)
            pairs[name] = stats.paired_set(*features, sets.distance, clusters, rng, distances)
    corrected = stats.holm([pair.p for pair in pairs.values()])
    return {
        name: {
            "base": other[name][1].value,
            "difference": pair.mean,
            "low": pair.low,
            "high": pair.high,
            "win_rate": {"up": pair.win_rate, "down": 1 - pair.win_rate, "none": math.nan}[found[name][1].direction],
            "p_holm": float(p),
        }
        for (name, pair), p in zip(pairs.items(), corrected, strict=True)
    }


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


def _write(out: Path, folder: Path, files: list[Path], texts: tuple[str, ...], scores: dict[str, Score]) -> None:
    import pandas as pd

    from .images import names_in

    columns = {name: each.per_image for name, each in scores.items() if each.per_image is not None}
    table = pd.DataFrame({"image": names_in(folder, files), "prompt": texts, **columns})
    if out.suffix == ".csv":
        table.to_csv(out, index=False)
    else:
        table.to_parquet(out, index=False)


if __name__ == "__main__":
    main(app)
