"""From a spec to a generator: finds the files, loads the pipeline, puts it on a device in a type that suits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import configs
from configs import UserError, devices

from . import inputs
from .addons import addons, put_on
from .identity import has_variant, identity, identity_of_file, read_index
from .image_to_image import ImageToImage
from .image_to_video import ImageToVideo
from .locate import locate, locate_config
from .parts import Part, assembled, parts
from .place import Place
from .refined import Refined
from .spec import ALSO, PIPELINES, ModelSpec
from .text_to_image import TextToImage
from .text_to_video import TextToVideo
from .video_to_video import VideoToVideo

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
KINDS: dict[str, type[TextToImage]] = {
    "text-to-image": TextToImage,
    "image-to-image": ImageToImage,
    "text-to-video": TextToVideo,
    "image-to-video": ImageToVideo,
    "video-to-video": VideoToVideo,
}


def load(spec: ModelSpec, place: Place) -> TextToImage:
    """Finds, loads and places the pipeline of `spec`; see `freeu.models.load_generator`."""
    inputs.check(spec)
    inputs.read(spec)
    numbers = choose_dtype(place.dtype, spec, place.device)
    # Before the weights: it finds what is missing, and names it.
    further = parts(spec)
    more = [file for addon in addons(spec) for file in addon.files]
    more += [file for part in further for file in part.files] + inputs.files(spec)
    if spec.folder.is_file():
        folder = locate_config(spec)
        content = identity_of_file(spec.folder, folder, more)
    else:
        folder = locate(spec)
        content = identity(folder, spec.variant, more)
    pipeline = _read(spec, folder, numbers)
    put_on(pipeline, spec)
    pipeline = assembled(pipeline, further, numbers)
    kind = Refined if spec.refiner else KINDS[spec.kind]
    return kind(pipeline, spec, content, place, **_refiner(further, numbers))


def choose_device(name: str | None) -> torch.device:
    """The device of that name; for None the best one that is there.

    Raises:
        UserError: no such device on this machine.
    """
    if name is None:
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    devices.check_present(name)
    return torch.device(name)


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


def _refiner(further: list[Part], dtype: torch.dtype) -> dict[str, Any]:
    """The refiner's pipeline, where there is one."""
    found = [part.folder for part in further if part.field == "refiner"]
    return {"refiner": _pipeline(found[0], "StableDiffusionXLImg2ImgPipeline", dtype)} if found else {}


def _read(spec: ModelSpec, folder: Path, dtype: torch.dtype) -> Any:
    """The pipeline of a folder; or of a single file, where `folder` only says how it is laid out."""
    name = str(read_index(folder).get("_class_name"))
    if PIPELINES.get(name) != spec.kind and name not in ALSO.get(spec.kind, ()):
        fit = [known for known, kind in PIPELINES.items() if kind == spec.kind or known in ALSO.get(spec.kind, ())]
        raise UserError(f"{folder} holds a {name}: for {spec.kind} a {' or '.join(fit)} is expected")
    if spec.kind == "text-to-video" and name == "StableDiffusionPipeline" and spec.motion_adapter is None:
        raise UserError(f"{folder} holds a {name}, which makes videos with a --motion-adapter only")
    single = spec.folder if spec.folder.is_file() else None
    return _pipeline(folder, name, dtype, spec.variant if has_variant(folder, spec.variant) else None, single)


def _pipeline(
    folder: Path, name: str, dtype: torch.dtype, variant: str | None = None, single: Path | None = None
) -> Any:
    import diffusers
    import transformers

    for library in (diffusers, transformers):  # their notes are for developers, their bars would fight with ours
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    kind = getattr(diffusers, name)
    unused: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if name in ("StableDiffusionPipeline", "LatentConsistencyModelPipeline"):
        unused |= {"safety_checker": None, "requires_safety_checker": False}
    elif name in ("TextToVideoSDPipeline", "StableVideoDiffusionPipeline", "StableDiffusionXLImg2ImgPipeline"):
        unused = {}
    try:
        if single is not None:
            return kind.from_single_file(str(single), config=str(folder), dtype=dtype, local_files_only=True, **unused)
        return kind.from_pretrained(folder, dtype=dtype, variant=variant, local_files_only=True, **unused)
    except Exception as error:  # a damaged file raises any of a dozen kinds, deep inside three libraries
        said = " ".join(str(error).split())[:400]
        raise UserError(f"can't load the pipeline in {single or folder}: {type(error).__name__}: {said}") from error
