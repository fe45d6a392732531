"""What generated images are measured against: mean, covariance and features of real ones, made once and kept.

A model's YAML names it, or `--reference` (see `metrics.reference_kinds`): {kind: statistics, file} for an .npz, or a
list of them for several encoders; {kind: folder, folder} for images on disk; {kind: table, file, image} for a parquet
file with images, or a csv, tsv or jsonl that names them; {kind: hub_dataset, dataset, split, image, n} for a data set
of the hub.
Features are kept in the user's cache by the encoder's identity and by content.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import UserError, unknown
from configs.whole_files import replacing, sweep

from . import images
from .base import MetricError
from .encoders import Encoder, made_with, short
from .hub import SECONDS_TO_ANSWER, why_not

DECODING = "2"
"""Raised whenever `configs.image_files` gives other pixels of a file: kept features are of the pixels."""
Named = tuple[str, Path | bytes]
"""What an error calls an image, and its file or content."""


@dataclass(frozen=True)
class Reference:
    """mu (d,) and sigma (d, d), float64, of n images; features (n, d) where they are known."""

    mu: np.ndarray
    sigma: np.ndarray
    n: int | None = None
    features: np.ndarray | None = None

    @staticmethod
    def of(features: np.ndarray) -> Reference:
        """The reference whose images have these features (n, d)."""
        found = np.asarray(features, np.float64)
        if found.ndim != 2 or len(found) < 2 or not np.isfinite(found).all():
            raise MetricError(f"a reference needs finite features (n, d) of 2 images or more, found {found.shape}")
        return Reference(found.mean(axis=0), np.atleast_2d(np.cov(found, rowvar=False)), len(found), found)


def load_reference(spec: Mapping[str, Any], encoder: Encoder, models: Path) -> Reference:
    """The reference that a model's YAML names, as `encoder` sees it.

    Raises:
        UserError: it can't be had or read, or was made with another encoder.
    """
    needs = {
        "statistics": ("file",),
        "folder": ("folder",),
        "table": ("file", "image"),
        "hub_dataset": ("dataset", "split", "image", "n"),
    }
    kind = str(spec.get("kind"))
    if kind not in needs:
        raise unknown("kind of reference", kind, needs)
    if lacking := [name for name in needs[kind] if name not in spec]:
        raise UserError(f"a reference of kind '{kind}' needs {', '.join(lacking)}, and its YAML has {dict(spec)}")
    if kind == "statistics":
        return _statistics(spec["file"], encoder, models)
    if kind == "hub_dataset":
        name = f"{spec['dataset']} {spec['split']} {spec['image']} {spec['n']}"
        return _kept(name, encoder, lambda: _hub_images(spec))
    found = partial(_from_folder if kind == "folder" else _from_tables, spec, models)
    return _kept(_content(found()), encoder, found)


def _from_folder(spec: Mapping[str, Any], models: Path) -> Iterator[Named]:
    for file in images.files(models / Path(spec["folder"]).expanduser()):
        yield str(file), file


def _from_tables(spec: Mapping[str, Any], models: Path) -> Iterator[Named]:
    for file in _listed(spec["file"]):
        yield from images.table_rows(models / Path(file).expanduser(), spec["image"])


def _statistics(given: str | Sequence[str], encoder: Encoder, models: Path) -> Reference:
    """Of several files the one that this encoder made."""
    files = [models / Path(file).expanduser() for file in _listed(given)]
    found: dict[Path, UserError] = {}
    for file in files:
        try:
            return read_statistics(file, encoder.identity)
        except UserError as error:
            found[file] = error
    if len(files) == 1:
        raise found[files[0]]
    raise UserError(f"no reference for the encoder {encoder.name}: " + "; ".join(map(str, found.values())))


def _listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _content(found: Iterable[Named]) -> str:
    """Names images by what is in them, not by where they are or what lists them."""
    digest = hashlib.sha256()
    for name, source in found:
        try:
            digest.update(hashlib.sha256(source if isinstance(source, bytes) else source.read_bytes()).digest())
        except OSError as error:
            raise UserError(f"can't read the reference {name}: {error.strerror or error}") from error
    return digest.hexdigest()


def read_statistics(file: Path, encoder: str | None = None) -> Reference:
    """An .npz with mu and sigma (as pytorch-fid and clean-fid write it), with feats (clean-fid) or reps (dgm-eval), and
    perhaps n and encoder.

    Args:
        encoder: identity of the encoder in use; one that the file names and that differs is refused. A file that names
            weights alone is not asked for their settings.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            names = ("mu", "sigma", "n", "feats", "reps", "encoder")
            kept = {name: stored[name] for name in stored.files if name in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"can't read the reference {file}: {error}") from error
    except TypeError as error:  # numpy gives a bare array for an .npy
        raise UserError(f"the reference {file} is one array: an .npz with mu and sigma is needed") from error
    for name in kept.keys() - {"encoder"}:
        if kept[name].dtype.kind not in "buif":
            raise UserError(f"the reference {file} has {name} of type {kept[name].dtype}: numbers are expected")
    features = kept.get("feats", kept.get("reps"))
    if features is None and not {"mu", "sigma"} <= kept.keys():
        raise UserError(f"the reference {file} lacks mu and sigma, or feats; it holds {', '.join(kept) or 'neither'}")
    made_for = str(kept["encoder"]) if "encoder" in kept else None
    if encoder is not None and made_for is not None and not made_with(made_for, encoder):
        raise UserError(f"the reference {file} was made with the encoder {short(made_for)}, not {short(encoder)}")
    if "mu" not in kept or "sigma" not in kept:
        try:
            return Reference.of(np.asarray(features))
        except MetricError as error:
            raise UserError(f"the reference {file}: {error}") from error
    mu, sigma = kept["mu"].astype(np.float64), kept["sigma"].astype(np.float64)
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise UserError(f"the reference {file} has mu {mu.shape} and sigma {sigma.shape}: expected (d,) and (d, d)")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise UserError(f"the reference {file} holds NaN or infinity")
    n = kept.get("n")
    if n is not None and not (n.size == 1 and np.isfinite(n).all() and n.item() >= 2):
        raise UserError(f"the reference {file} has n {n.tolist()}: a number of images, 2 or more, is expected")
    if features is not None and (features.ndim != 2 or features.shape[1] != len(mu) or len(features) < 2):
        raise UserError(f"the reference {file} has features {features.shape}: expected (n, {len(mu)}), n at least 2")
    if features is not None and not np.isfinite(features).all():
        raise UserError(f"the reference {file} holds features that are NaN or infinity")
    return Reference(mu, sigma, None if n is None else int(n.item()), features)


def _kept(name: str, encoder: Encoder, found: Callable[[], Iterator[Named]]) -> Reference:
    """Features from the cache, or made now and kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freeu-search" / "references"
    key = hashlib.sha256("\n".join([DECODING, encoder.identity, name]).encode()).hexdigest()
    file = home / f"{key[:32]}.npy"
    if not file.exists():
        parts = [encoder.embed_images(part).numpy() for part in _batches(found(), encoder)]
        if sum(map(len, parts)) < 2:
            raise UserError(f"the reference holds {'1 image' if parts else 'no images'}: at least 2 are needed")
        features = np.concatenate(parts)
        if not np.isfinite(features).all():
            raise UserError(f"the encoder {encoder.name} gave NaN or infinity for an image of the reference")
        sweep(home)
        with replacing(file) as part, part.open("wb") as stream:
            np.save(stream, features)
    try:
        return Reference.of(np.load(file, allow_pickle=False))
    except (ValueError, EOFError, MetricError) as error:
        raise UserError(f"the kept features {file} are damaged ({error}): delete the file") from error


def _batches(found: Iterator[Named], encoder: Encoder) -> Iterator[torch.Tensor]:
    """Stacks of images, which differ in size, resized as the encoder resizes the generated ones."""
    batch: list[torch.Tensor] = []
    for name, source in found:
        image = images.decoded(name, source)
        batch.append(image if encoder.fit is None else encoder.fit(image[None])[0])
        if batch[-1].shape != batch[0].shape:
            raise UserError(f"the reference image {name} differs in size, and {encoder.name} doesn't resize")
        if len(batch) == 64:
            yield torch.stack(batch)
            batch = []
    if batch:
        yield torch.stack(batch)


def _hub_images(spec: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The first n images of a split: parquet shards whose image column holds {bytes, path}."""
    import pyarrow.parquet as parquet

    left = int(spec["n"])
    for shard in _shards(spec["dataset"], spec["split"]):
        table = parquet.ParquetFile(shard)
        if spec["image"] not in table.schema_arrow.names:
            raise UserError(f"{spec['dataset']} has no column '{spec['image']}': {', '.join(table.schema_arrow.names)}")
        for rows in table.iter_batches(batch_size=64, columns=[spec["image"]]):
            for row in rows.column(0).to_pylist()[:left]:
                left -= 1
                yield str(row.get("path")), row["bytes"]
            if left <= 0:
                return
    raise UserError(
        f"the split '{spec['split']}' of {spec['dataset']} holds {int(spec['n']) - left} images that can be had, and "
        f"n is {spec['n']}: lower n, or connect to the hub"
    )


def _shards(dataset: str, split: str) -> Iterator[Path]:
    """The split's parquet files in order, each downloaded when it is asked for, unless the hub's cache has them."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    if why := why_not(dataset, "dataset"):
        raise UserError(
            f"the reference {dataset} can't be had: {why}. What to do: download it where there is a network, name a "
            "folder of images in the model's YAML (reference: {kind: folder, folder: PATH}), or leave fid out of "
            "--objectives"
        )
    try:
        info = HfApi().dataset_info(dataset, timeout=SECONDS_TO_ANSWER)
    except Exception:  # no network: what the cache has
        folder = snapshot_download(dataset, repo_type="dataset", local_files_only=True)
        files = sorted(Path(folder).rglob(f"{split}-*.parquet"))
        names: list[str] = []
    else:
        files = []
        found = (sibling.rfilename for sibling in info.siblings or ())
        names = sorted(name for name in found if fnmatch(name.rpartition("/")[2], f"{split}-*.parquet"))
    if not files and not names:
        raise UserError(f"the data set {dataset} has no parquet files of the split '{split}'")
    yield from files
    for name in names:
        try:
            yield Path(hf_hub_download(dataset, name, repo_type="dataset", revision=info.sha))
        except OSError as error:
            raise UserError(f"the reference {dataset} can't be had: {name}: {error}") from error
