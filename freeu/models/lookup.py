"""From what a person gives as a base model (a name, a folder, a file, a hub id, a function) to its spec."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import configs
from configs import UserError

from . import fits, locate, refusals, single
from .catalogue import explained, from_yaml, names, of_name, of_source
from .identity import read_index, read_json
from .kinds import KINDS, PIPELINES
from .noising import noising
from .spec import HUB_ID, ModelSpec

OWN_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
INPAINTING = {
    "sd15": "stable-diffusion-v1-5/stable-diffusion-inpainting",
    "sd21": "sd2-community/stable-diffusion-2-inpainting",
    "sdxl": "diffusers/stable-diffusion-xl-1.0-inpainting-0.1",
}
"""Where the layout of a single file for inpainting is, by what it is like."""
EDITING = "timbrooks/instruct-pix2pix"
"""Where that of a single file which edits pictures is."""
BRINGS_ITS_OWN = ("EDM", "LCM", "TCD")
"""How the names of the schedulers begin that no other can stand in for: they noise, or step, in a way of their own."""


def load_spec(name_or_folder: str | Path) -> ModelSpec:
    """The spec of a model of configs/models, of a YAML file, of a diffusers folder, of comfyui:WORKFLOW.json, or of
    package.module:function.

    A folder or hub id takes its defaults from the model of configs/models that has its name on the hub, else from the
    one that is most like it.

    Raises:
        configs.UserError: no such model (the nearest is named), or something in its files is wrong.
    """
    wanted = str(name_or_folder)
    if wanted in names():
        return of_name(wanted)
    named = KINDS.get(wanted.partition(":")[0])
    if named is not None and named.drawn == "server":
        from freeu.servers.opening import unconnected

        return unconnected(wanted)
    if OWN_FUNCTION.fullmatch(wanted):
        return _of_function(wanted)
    place = Path(wanted).expanduser()
    if place.suffix in (".yaml", ".yml"):
        return from_yaml(place)
    if _is_folder(place):
        return from_folder(place.resolve(), place.resolve().name)
    if place.suffix == ".safetensors":
        return from_file(place.resolve())
    refusals.check_file(place)
    error = configs.unknown("model", wanted, names())
    if HUB_ID.fullmatch(wanted):
        return _from_hub(wanted, error)
    raise UserError(
        f"{error}; or give the folder of a diffusers pipeline, a .safetensors checkpoint, a YAML file, "
        "comfyui:WORKFLOW.json, or package.module:function"
    )


def _of_function(source: str) -> ModelSpec:
    """A function of the user's, with the scorers and defaults of Stable Diffusion 1.5."""
    own = {"name": source.partition(":")[2], "kind": "own", "source": source, "base": Path.cwd()}
    return of_name("sd15").model_copy(update=own | {"published": None, "licence": None, "memory_gb": None})


def from_folder(folder: Path, name: str) -> ModelSpec:
    """The spec of the pipeline in a diffusers folder.

    Raises:
        UserError: something in its configs is wrong, or it can't be run here.
    """
    refusals.check_folder(folder)
    index = read_index(folder)
    pipeline = str(index.get("_class_name"))  # a list in some hand-made files
    if pipeline not in PIPELINES:
        raise refusals.of_pipeline(folder, index, list(PIPELINES))
    kind = fits.kind_of(folder)
    fits.check(folder)
    unet, vae = _config(folder, "unet"), _config(folder, "vae")
    # 1024 is the text width of OpenCLIP's encoder in SD 2, 768 that of CLIP's in SD 1.
    like_stable_diffusion = "sd21" if unet.get("cross_attention_dim") == 1024 else "sd15"
    nearest = of_source(name)
    if nearest is None or nearest.kind != kind:
        nearest = of_name(PIPELINES[pipeline].like or like_stable_diffusion)
    levels = vae.get("block_out_channels")
    factor = 2 ** max(0, len(levels) - 1) if isinstance(levels, list) else 1
    side = unet.get("sample_size")
    weights = [file.name for file in (folder / "unet").glob("*.safetensors")]
    halves = [".fp16." in name for name in weights]  # beside plain ones the model's own variant, as its name loads it
    own: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "source": str(folder),
        "motion_adapter": None,
        "scheduler": "default" if scheduler_of(folder).startswith(BRINGS_ITS_OWN) else nearest.scheduler,
        "scheduler_config": {},
        "revision": None,
        "variant": "fp16" if halves and (all(halves) or (any(halves) and nearest.variant == "fp16")) else None,
        "resolution": side * factor if isinstance(side, int) else nearest.resolution,
        "licence": None,
        "memory_gb": None,
    }
    if KINDS[kind].mask:
        own["strength"] = 1.0
    try:
        return ModelSpec(**(dict(nearest) | own))
    except ValidationError as error:
        raise UserError(f"{folder}: {explained(error)}") from error


def scheduler_of(folder: Path) -> str:
    """The class of the scheduler that a pipeline's model_index.json names; "" if none."""
    found = read_index(folder).get("scheduler")
    return str(found[-1]) if isinstance(found, list) and found else ""


def _from_hub(repo: str, unknown: UserError) -> ModelSpec:
    """A pipeline on the hub, or in its cache, of which only the layout is fetched here; of one that configs/models
    knows, not even that."""
    name = repo.partition("/")[2]
    known = of_source(name)
    if known is not None and known.source == repo:
        return known.model_copy(update={"name": name})
    refusals.check_hub(repo)
    try:
        folder = locate.hub_layout(repo)
    except UserError as error:
        raise UserError(f"{unknown}; there is no such folder, and as a hub id: {error}") from error
    return from_folder(folder, name).model_copy(update={"source": repo})


def from_file(file: Path) -> ModelSpec:
    """A single-file checkpoint; the layout of its pipeline is that of the model that it is like, and so is how noise is
    scheduled, save for what the file says of it.

    Raises:
        UserError: it holds something else, or can't be run here.
    """
    like = of_name(single.nearest(file))
    fits.check_file(file)
    refusals.check_whole(file, single.header(file))
    scheduler, changes = noising(file)
    own: dict[str, Any] = {
        "name": file.stem,
        "source": str(file),
        "config": like.source,
        "revision": None,
        "variant": None,
    }
    if fits.for_inpainting(file):
        own |= {"kind": "inpainting", "config": INPAINTING[like.name], "strength": 1.0}
    if fits.for_editing(file):
        own |= {"kind": "editing", "config": EDITING}
    own |= {"licence": None, "scheduler": scheduler or like.scheduler, "scheduler_config": changes}
    return like.model_copy(update=own)


def _config(folder: Path, part: str) -> dict[str, Any]:
    file = folder / part / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} is incomplete: it has no {part}/config.json")
    return read_json(file)


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError:  # a name too long for the file system, say
        return False
