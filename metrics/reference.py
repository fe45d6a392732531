"""What generated images are measured against: mean, covariance and features of real ones, made once and kept.

A model's YAML names it: {kind: statistics, file} for an .npz with mu and sigma, {kind: folder, folder} for images on
disk, {kind: hub_dataset, dataset, split, image, n} for a data set of the hub. Features are kept in the user's cache by
encoder and content.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import UserError, unknown

from .base import MetricError
from .encoders import Encoder
from .hub import SECONDS_TO_ANSWER, why_not

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


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
    needs = {"statistics": ("file",), "folder": ("folder",), "hub_dataset": ("dataset", "split", "image", "n")}
    kind = spec.get("kind")
    if kind not in needs:
        raise unknown("kind of reference", str(kind), needs)
    if lacking := [name for name in needs[kind] if name not in spec]:
        raise UserError(f"a reference of kind '{kind}' needs {', '.join(lacking)}, and its YAML has {dict(spec)}")
    if kind == "statistics":
        return read_statistics(models / Path(spec["file"]).expanduser(), encoder.identity)
    if kind == "folder":
        folder = models / Path(spec["folder"]).expanduser()
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGES)
        if len(files) < 2:
            raise UserError(f"the reference folder {folder} holds {len(files)} images: at least 2 are needed")
        stamps = "\n".join(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
        return _kept(f"folder\n{stamps}", encoder, lambda: ((str(file), file.read_bytes()) for file in files))
    name = f"{spec['dataset']} {spec['split']} {spec['image']} {spec['n']}"
    return _kept(name, encoder, lambda: _hub_images(spec))


def read_statistics(file: Path, encoder: str | None = None) -> Reference:
    """An .npz with mu and sigma (as pytorch-fid and clean-fid write it) and perhaps n, feats and encoder.

    Args:
        encoder: identity of the encoder in use; one that the file names and that differs is refused.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            kept = {name: stored[name] for name in stored.files if name in ("mu", "sigma", "n", "feats", "encoder")}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"can't read the reference {file}: {error}") from error
    except TypeError as error:  # numpy gives a bare array for an .npy
        raise UserError(f"the reference {file} is one array: an .npz with mu and sigma is needed") from error
    if not {"mu", "sigma"} <= kept.keys():
        raise UserError(f"the reference {file} lacks mu and sigma; it holds {', '.join(kept) or 'neither'}")
    mu, sigma = kept["mu"].astype(np.float64), kept["sigma"].astype(np.float64)
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)):
        raise UserError(f"the reference {file} has mu {mu.shape} and sigma {sigma.shape}: expected (d,) and (d, d)")
    made_for = str(kept["encoder"]) if "encoder" in kept else None
    if encoder is not None and made_for is not None and made_for != encoder:
        raise UserError(f"the reference {file} was made with the encoder {made_for[:48]}, not {encoder[:48]}")
    return Reference(mu, sigma, int(kept["n"]) if "n" in kept else None, kept.get("feats"))


def decoded(name: str, data: bytes) -> torch.Tensor:
    """One image file as uint8 (3, H, W); grey becomes RGB, transparency lies on white."""
    from PIL import Image, UnidentifiedImageError

    try:
        image: Image.Image = Image.open(io.BytesIO(data))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        pixels = np.array(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UserError(f"the reference image {name} can't be read: {error}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _kept(name: str, encoder: Encoder, images: Any) -> Reference:
    """Features from the cache, or made now and kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freeu-search" / "references"
    key = hashlib.sha256("\n".join([encoder.identity, name]).encode()).hexdigest()
    file = home / f"{key[:32]}.npy"
    if not file.exists():
        features = np.concatenate([encoder.embed_images(part).numpy() for part in _batches(images(), encoder)])
        home.mkdir(parents=True, exist_ok=True)
        part_file = file.with_suffix(f".{os.getpid()}.part")
        with part_file.open("wb") as stream:
            np.save(stream, features)
        part_file.replace(file)
    try:
        return Reference.of(np.load(file, allow_pickle=False))
    except (ValueError, EOFError, MetricError) as error:
        raise UserError(f"the kept features {file} are damaged ({error}): delete the file") from error


def _batches(images: Iterator[tuple[str, bytes]], encoder: Encoder) -> Iterator[torch.Tensor]:
    """Stacks of images, which differ in size, resized as the encoder resizes the generated ones."""
    batch: list[torch.Tensor] = []
    for name, data in images:
        image = decoded(name, data)
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
