"""From a spec to a generator: finds the files, loads the pipeline, puts it on a device in a type that suits it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

import configs
from configs import UserError

from .addons import addons, put_on
from .identity import has_variant, identity, identity_of_file, read_index
from .locate import locate, locate_config
from .spec import PIPELINES, ModelSpec
from .text_to_image import TextToImage
from .text_to_video import TextToVideo

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
SMALL = 256
"""Pixels of a side up to which a batch of 16 fits anywhere; above it, 4 on an accelerator and 1 on a CPU."""


def load(
    spec: ModelSpec,
    *,
    device: str | None = None,
    dtype: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch_size: int | None = None,
) -> TextToImage:
    """Finds, loads and places the pipeline of `spec`; see `freeu.models.load_generator`."""
    place = choose_device(device)
    numbers = choose_dtype(dtype, spec, place)
    more = [file for addon in addons(spec) for file in addon.files]
    # Before the weights: it finds what is missing, and names it.
    if spec.folder.is_file():
        folder = locate_config(spec)
        content = identity_of_file(spec.folder, more)
    else:
        folder = locate(spec)
        content = identity(folder, spec.variant, more)
    pipeline = _read(spec, folder, numbers)
    put_on(pipeline, spec)
    try:
        pipeline.to(place)
    except torch.OutOfMemoryError as error:
        raise UserError(f"not enough memory on {place} for {spec.name}: {error}") from error
    fits = 16 if spec.resolution <= SMALL else 1 if place.type == "cpu" else 4
    kind = partial(TextToVideo, frames=spec.frames) if spec.kind == "text-to-video" else TextToImage
    return kind(
        pipeline,
        name=spec.name,
        identity=content,
        resolution=spec.resolution,
        steps=spec.steps if steps is None else steps,
        guidance=spec.guidance if guidance is None else guidance,
        scheduler=spec.scheduler,
        batch_size=fits if batch_size is None else batch_size,
    )


def choose_device(name: str | None) -> torch.device:
    """The device of that name; for None the best one that is there.

    Raises:
        UserError: no such device on this machine.
    """
    mps = torch.backends.mps.is_available()
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise configs.unknown("device", name, ("cpu", "cuda", "mps")) from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(mps)}.get(device.type, 0)
    if (device.index or 0) >= count:
        raise UserError(f"this machine has no device {name!r}: try --device cpu")
    return device


def choose_dtype(name: str | None, spec: ModelSpec, device: torch.device) -> torch.dtype:
    """The type of that name; for None the spec's or half precision on cuda, and float32 elsewhere.

    Raises:
        UserError: no such type.
    """
    if name is None:
        name = (spec.dtype or "float16") if device.type == "cuda" else "float32"
    if name not in DTYPES:
        raise configs.unknown("dtype", name, DTYPES)
    return DTYPES[name]


def _read(spec: ModelSpec, folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline of a folder; or of a single file, where `folder` only says how it is laid out."""
    import diffusers
    import transformers

    name = str(read_index(folder).get("_class_name"))
    if PIPELINES.get(name) != spec.kind:
        fit = [known for known, kind in PIPELINES.items() if kind == spec.kind]
        raise UserError(f"{folder} holds a {name}: for {spec.kind} a {' or '.join(fit)} is expected")
    for library in (diffusers, transformers):  # their notes are for developers, their bars would fight with ours
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    unused: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if name in ("StableDiffusionPipeline", "LatentConsistencyModelPipeline"):
        unused |= {"safety_checker": None, "requires_safety_checker": False}
    elif name == "TextToVideoSDPipeline":
        unused = {}
    single = spec.folder if spec.folder.is_file() else None
    kind = getattr(diffusers, name)
    try:
        if single is not None:
            return kind.from_single_file(str(single), config=str(folder), dtype=dtype, local_files_only=True, **unused)
        variant = spec.variant if has_variant(folder, spec.variant) else None
        return kind.from_pretrained(folder, dtype=dtype, variant=variant, local_files_only=True, **unused)
    except Exception as error:  # a damaged file raises any of a dozen kinds, deep inside three libraries
        said = " ".join(str(error).split())[:400]
        raise UserError(f"can't load the pipeline in {single or folder}: {type(error).__name__}: {said}") from error
