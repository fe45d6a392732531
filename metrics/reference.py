"""What generated images are measured against: mean, covariance and features of real ones, made once and kept.

A model's YAML names it: {kind: statistics, file} for an .npz with mu and sigma, {kind: folder, folder} for images on
disk, {kind: hub_dataset, dataset, split, image, n} for a data set of the hub. Features are kept in the user's cache by
encoder and content.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import UserError, unknown

from .base import MetricError
from .encoders import Encoder

IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
SECONDS_TO_ANSWER = 6
SIDE = 299
"""Images of a folder or data set, which differ in size, are squashed to Inception's side, as clean-fid does."""


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
    kinds = ("statistics", "folder", "hub_dataset")
    kind = spec.get("kind")
    if kind == "statistics":
        return read_statistics(models / spec["file"], encoder.identity)
    if kind == "folder":
        folder = Path(spec["folder"]).expanduser()
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGES)
        if len(files) < 2:
            raise UserError(f"the reference folder {folder} holds {len(files)} images: at least 2 are needed")
        stamps = "\n".join(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
        return _kept(f"folder\n{stamps}", encoder, lambda: ((str(file), file.read_bytes()) for file in files))
    if kind == "hub_dataset":
        name = f"{spec['dataset']} {spec['split']} {spec['image']} {spec['n']}"
        return _kept(name, encoder, lambda: _hub_images(spec))
    raise unknown("kind of reference", str(kind), kinds)


def read_statistics(file: Path, encoder: str | None = None) -> Reference:
    """An .npz with mu and sigma (as pytorch-fid and clean-fid write it) and perhaps n, feats and encoder.

    Args:
        encoder: identity of the encoder in use; one that the file names and that differs is refused.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            kept = {name: stored[name] for name in stored.files if name in ("mu", "sigma", "n", "feats", "encoder")}
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"can't read the reference {file}: {error}") from error
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
    """One image file as uint8 (3, SIDE, SIDE); grey becomes RGB, transparency lies on white."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data))
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise UserError(f"the reference image {name} can't be read: {error}") from error
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)


def _kept(name: str, encoder: Encoder, images: Any) -> Reference:
    """Features from the cache, or made now and kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freeu-search" / "references"
    key = hashlib.sha256("\n".join([encoder.identity, name]).encode()).hexdigest()
    file = home / f"{key[:32]}.npy"
    if not file.exists():
        features = np.concatenate([encoder.embed_images(part).numpy() for part in _batches(images())])
        home.mkdir(parents=True, exist_ok=True)
        part_file = file.with_suffix(f".{os.getpid()}.part")
        with part_file.open("wb") as stream:
            np.save(stream, features)
        part_file.replace(file)
    try:
        return Reference.of(np.load(file, allow_pickle=False))
    except (ValueError, EOFError, MetricError) as error:
        raise UserError(f"the kept features {file} are damaged ({error}): delete the file") from error


def _batches(images: Iterator[tuple[str, bytes]]) -> Iterator[torch.Tensor]:
    batch: list[torch.Tensor] = []
    for name, data in images:
        batch.append(decoded(name, data))
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


def _shards(dataset: str, split: str) -> list[Path]:
    """The split's parquet files, from the hub's cache or the hub."""
    from huggingface_hub import HfApi, snapshot_download

    wanted = [f"**/{split}-*.parquet", f"{split}-*.parquet"]

    def shards(**where: Any) -> list[Path]:
        folder = snapshot_download(dataset, repo_type="dataset", allow_patterns=wanted, **where)
        return sorted(Path(folder).rglob(f"{split}-*.parquet"))

    try:
        if found := shards(local_files_only=True):
            return found
    except OSError:
        pass  # not in the cache: the hub is asked next
    try:
        HfApi().dataset_info(dataset, timeout=SECONDS_TO_ANSWER)
        if found := shards():
            return found
    except Exception as error:  # offline, refused, gone: each with its own class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UserError(
            f"the reference {dataset} can't be had. Tried the hub's cache: not there. Tried the hub: "
            f"{type(error).__name__}: {reason}. What to do: download it where there is a network, name a folder of "
            "images in the model's YAML (reference: {kind: folder, folder: PATH}), or leave fid out of --objectives"
        ) from error
    raise UserError(f"the data set {dataset} has no parquet files of the split '{split}'")
