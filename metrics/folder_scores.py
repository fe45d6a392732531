"""What `metrics.score` computes: scores of a folder of images, and their differences in pairs from another folder's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from configs import UserError
from configs.prompt_files import rows

from .matching import pairs, prompts_by_name
from .registry import MetricInfo

if TYPE_CHECKING:
    from .base import Batch, Metric, Score

"""Metrics that read prompts."""


@dataclass(frozen=True)
class ImageFolder:
    """Images in the order of their names, each with its prompt, "" where none were given."""

    folder: Path
    files: tuple[Path, ...]
    prompts: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Below the folder, as a/0.png."""
        return [file.relative_to(self.folder).as_posix() for file in self.files]


class Found(NamedTuple):
    """A metric, and what it found."""

    metric: Metric
    score: Score
    batch: Batch


def read_folder(folder: Path, prompts: Path | None) -> ImageFolder:
    """The images below a folder with their prompts: by the names of the images where `prompts` has some, else in order.

    Raises:
        UserError: a folder without images, prompts that can't be read, or an image without one.
    """
    from .images import files

    found = ImageFolder(folder, tuple(files(folder)), ())
    if prompts is None:
        return replace(found, prompts=("",) * len(found.files))
    given = [row for row in rows(prompts) if row.text]
    by_name = [(row.name, row.text) for row in given if row.name is not None]
    if by_name:
        return replace(found, prompts=prompts_by_name(found.names, by_name, prompts))
    if len(given) != len(found.files):
        raise UserError(
            f"{prompts} holds {len(given)} prompts and {folder} {len(found.files)} images: give one for each image in "
            "the order of their names, or a table with the columns image and prompt"
        )
    return replace(found, prompts=tuple(row.text for row in given))


def read_base(images: ImageFolder, folder: Path) -> tuple[ImageFolder, bool]:
    """(the images to compare with, in the order and with the prompts of `images`; whether names say which).

    Raises:
        UserError: a folder without images, or an image without a partner.
    """
    from .images import files

    found = ImageFolder(folder, tuple(files(folder)), images.prompts)
    order, by_name = pairs(images.names, found.names, folder)
    return replace(found, files=tuple(found.files[place] for place in order)), by_name


def check_possible(infos: Sequence[MetricInfo], images: ImageFolder, compared: bool) -> None:
    """Raises UserError for a metric that can't score these images, before weights load. compared: with a base."""
    if (worded := [info.name for info in infos if info.prompts]) and not any(images.prompts):
        raise UserError(f"{', '.join(worded)} compares images with their prompts: give --prompts FILE")
    for info in infos:
        if len(images.files) < info.min_n:
            raise UserError(f"{info.name} needs at least {info.min_n} images, found {len(images.files)}")
        if info.name == "drift" and not compared:
            raise UserError("drift is the distance from the baseline's images: give them with --base FOLDER")
        if info.name == "cost":
            raise UserError("cost counts the U-Net's evaluations, which images don't tell: it is a study's objective")
        if info.videos:
            raise UserError(f"{info.name} compares the frames of a video, and a folder is scored as single images")


def score_folders(
    metrics: Sequence[Metric], images: ImageFolder, base: ImageFolder | None
) -> tuple[dict[str, Found], dict[str, Found]]:
    """(each metric's score of the images, of the base: empty where there is none), by the metrics' names.

    Raises:
        UserError: an image can't be read or differs in size from the others of its folder, or a metric gives no number.
    """
    from .base import Batch
    from .images import read

    if base is None:
        batches = [Batch(read(images.files), images.prompts)]
    else:
        # The base's own base is itself, from which it drifts by 0.
        plain = Batch(read(base.files), base.prompts)
        batches = [Batch(read(images.files), images.prompts, base=plain), replace(plain, base=plain)]
    found = [{each.name: Found(each, each.score(batch), batch) for each in metrics} for batch in batches]
    return found[0], found[1] if base is not None else {}


def differences(
    found: Mapping[str, Found], base: Mapping[str, Found], prompts: Sequence[str], seed: int
) -> dict[str, dict[str, float]]:
    """For each metric the base's value, the mean difference of the pairs with its 95 % interval, the share of pairs won
    (NaN where neither direction is better) and p, which Holm's correction makes one of all these metrics."""
    import numpy as np

    from . import stats

    clusters = prompts if any(prompts) else tuple(map(str, range(len(prompts))))
    compared: dict[str, stats.Paired] = {}
    for name, (metric, here, batch) in found.items():
        _, there, before = base[name]
        rng = np.random.default_rng([seed, len(compared)])
        if here.per_image is not None and there.per_image is not None:
            compared[name] = stats.paired(here.per_image, there.per_image, clusters, rng)
        else:
            sets: Any = metric
            features, distances = (sets.features(batch), sets.features(before)), getattr(sets, "distances", None)
            compared[name] = stats.paired_set(*features, sets.distance, clusters, rng, distances)
    corrected = stats.holm([pair.p for pair in compared.values()])
    return {
        name: {
            "base": base[name].score.value,
            "difference": pair.mean,
            "low": pair.low,
            "high": pair.high,
            "win_rate": _win_rate(found[name].score.direction, pair.win_rate),
            "p_holm": float(p),
        }
        for (name, pair), p in zip(compared.items(), corrected, strict=True)
    }


def _win_rate(direction: str, higher: float) -> float:
    return {"up": higher, "down": 1 - higher, "none": math.nan}[direction]
