"""From a spec to a generator: finds the files, loads the pipeline, puts it on a device in a type that suits it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

import configs
from configs import devices

from . import addon_fits, control, fits, inputs, ip_adapter, pipelines, prompted
from .addons import addons, put_on
from .changes import as_trained
from .controlled import Controlled
from .identity import identity, identity_of_file
from .locate import locate, locate_config
from .noising import files_of_unet, latents
from .onnxless import onnxless
from .parts import Part, assembled, parts
from .place import Place
from .refined import Refined
from .spec import ModelSpec
from .text_to_image import TextToImage

with onnxless():  # no module of ours imports diffusers before this one
    import diffusers  # noqa: F401

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def load(spec: ModelSpec, place: Place) -> TextToImage:
    """Finds, loads and places the pipeline of `spec`; see `freeu.models.load_generator`."""
    inputs.check(spec)
    inputs.check_masks(spec)
    control.check(spec)
    ip_adapter.check(spec)
    inputs.read(spec)
    control.read(spec)
    numbers = choose_dtype(place.dtype, spec, place.device)
    # Before the weights: it finds what is missing or can't be run, and names it.
    further = parts(spec)
    folder = locate_config(spec) if spec.folder.is_file() else locate(spec)
    spec = as_trained(spec, folder)
    _check(spec, folder, further)
    more = [file for addon in addons(spec) for file in addon.files]
    more += (
        [file for part in further for file in part.files]
        + inputs.files(spec)
        + control.files(spec)
        + ip_adapter.files(spec)
    )
    if spec.folder.is_file():
        content = identity_of_file(spec.folder, folder, more)
    else:
        content = identity(folder, spec.variant, more)
    pipeline = pipelines.read(spec, folder, numbers)
    put_on(pipeline, spec)
    for file in files_of_unet(spec):
        pipeline.vae.register_to_config(**latents(file))
    pipeline = assembled(pipeline, further, numbers)
    prompted.put_on(pipeline, spec)
    kind = Refined if spec.refiner else Controlled if spec.controlnets else generator_of(spec)
    if spec.ip_adapter:
        kind = prompted.prompted(kind)
    return kind(pipeline, spec, content, place, **_refiner(further, numbers))


def generator_of(spec: ModelSpec) -> type[TextToImage]:
    """The class that draws models of its kind."""
    file, name = spec.traits.generator.split(":")
    found: type[TextToImage] = getattr(import_module(f".{file}", __package__), name)
    return found


def _check(spec: ModelSpec, folder: Path, further: list[Part]) -> None:
    """Whether all of it can be run here; see `freeu.models.fits`."""
    for place in (folder, *(part.folder for part in further if part.field == "refiner")):
        fits.check(place)
    fits.check_sampling(folder, spec)
    if spec.folder.is_file():
        fits.check_file(spec.folder)  # its U-Net may be for inpainting where the layout's is not
        fits.check_layout(spec.folder, folder)
    addon_fits.check(spec, folder)


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
    return {"refiner": pipelines.pipeline(found[0], "StableDiffusionXLImg2ImgPipeline", dtype)} if found else {}
