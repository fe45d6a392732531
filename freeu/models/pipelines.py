"""Reads a diffusers pipeline with all of its weights, from a folder or a single-file checkpoint."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from configs import UserError

from . import networks
from .fits import in_channels
from .identity import chosen_variant, has_variant, read_index, read_json
from .kinds import PIPELINES, SD, XL, pipelines_of
from .single import ORIGINAL, header
from .spec import ModelSpec

PARTS = ("unet", "vae")
"""Networks that are read one by one, and complete."""


def read(spec: ModelSpec, folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline of a folder; or of a single file, where `folder` only says how it is laid out.

    Raises:
        UserError: it is of another kind than the spec's, or can't be read.
    """
    name = str(read_index(folder).get("_class_name"))
    if name not in (fit := pipelines_of(spec.kind)):
        raise UserError(f"{folder} holds a {name}: for {spec.kind} a {' or '.join(fit)} is expected")
    if spec.traits.temporal and name in (SD, XL) and spec.motion_adapter is None:
        raise UserError(f"{folder} holds a {name}, which makes videos with a --motion-adapter only")
    single = spec.folder if spec.folder.is_file() else None
    if spec.traits.sees and single is None and PIPELINES[name].kind != spec.kind:
        raise UserError(
            f"{folder} holds a {name}, whose U-Net sees nothing beside noise: it is no model for {spec.kind}"
        )
    return pipeline(
        folder,
        PIPELINES[name].read_as or name,
        dtype,
        spec.variant if has_variant(folder, spec.variant) else None,
        single,
    )


def pipeline(
    folder: Path, name: str, dtype: torch.dtype, variant: str | None = None, single: Path | None = None
) -> Any:
    """The pipeline of class `name`, as `read`.

    Raises:
        UserError: it can't be read, or some of its weights are not there.
    """
    import diffusers
    import transformers

    for library in (diffusers, transformers):  # their notes are for developers, their bars would fight with ours
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    kind = getattr(diffusers, name)
    given: dict[str, Any] = dict.fromkeys(PIPELINES[name].left_out)
    if "safety_checker" in given:
        given["requires_safety_checker"] = False
    try:
        if single is not None:
            given |= _scaled(single, folder, dtype) or _widened(single, folder, dtype)
            return kind.from_single_file(str(single), config=str(folder), dtype=dtype, local_files_only=True, **given)
        for part in PARTS:
            place = folder / part
            given[part] = networks.of_folder(_kind(folder, part), place, dtype, chosen_variant(place, variant))
        return kind.from_pretrained(folder, dtype=dtype, variant=variant, local_files_only=True, **given)
    except UserError:
        raise
    except Exception as error:  # a damaged file raises any of a dozen kinds, deep inside three libraries
        said = " ".join(str(error).split())[:400]
        raise UserError(f"can't load the pipeline in {single or folder}: {type(error).__name__}: {said}") from error


def _scaled(single: Path, folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The networks of a checkpoint whose weights have scales beside them; diffusers would read them without."""
    scaled = [name for name in header(single) if name.endswith(networks.SCALES)]
    if other := [name for name in scaled if not name.startswith(tuple(ORIGINAL.values()))]:
        raise UserError(f"{single}: the weights of its text encoder are scaled ({other[0]}): give the model in 16 bit")
    return {
        part: networks.of_file(_kind(folder, part), single, part, folder / part, dtype)
        for part in PARTS
        if any(name.startswith(ORIGINAL[part]) for name in scaled)
    }


def _widened(single: Path, folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """The U-Net of a checkpoint for inpainting, where the layout is that of a model that is not."""
    config = read_json(folder / "unet" / "config.json")
    channels = in_channels(single)
    if channels in (None, config.get("in_channels")):
        return {}
    with tempfile.TemporaryDirectory() as layout:
        (Path(layout) / "config.json").write_text(json.dumps({**config, "in_channels": channels}))
        return {"unet": networks.of_file(_kind(folder, "unet"), single, "unet", Path(layout), dtype)}


def _kind(folder: Path, part: str) -> Any:
    """The class that a pipeline's index gives for one of its networks."""
    import diffusers

    found = read_index(folder).get(part)
    kind = getattr(diffusers, str(found[1]), None) if isinstance(found, list) and len(found) == 2 else None
    if kind is None:
        raise UserError(f"{folder}/model_index.json: {part} is {found!r}, which is no network of diffusers'")
    return kind
