"""Whether a pipeline is one that can be run here, told from its configs and headers before any weights load."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import UserError
from freeu.sampler_table import DEFAULT, EDM, OF_EDM, SAMPLERS, SCHEDULES, Schedule
from freeu.schedulers import Scheduler, check_runs, in_edm, named

from .identity import read_index, read_json
from .kinds import KINDS, PIPELINES, SD
from .locate import at_hand, locate_config
from .single import header, text_width
from .spec import ModelSpec

FIRST = ("model.diffusion_model.input_blocks.0.0.weight", "input_blocks.0.0.weight", "conv_in.weight")
"""Of a U-Net in a single file: its first convolution."""
BROWNIAN = ("DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler")
"""Schedulers whose noise is torchsde's."""
OWN_STEPS = ("LCM", "TCD")
"""Samplers whose timesteps are the model's own, however others' are spaced."""
TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


def check(folder: Path) -> None:
    """Of a diffusers folder.

    Raises:
        UserError: it has no text encoder, takes more than noisy latents, or has a scheduler that can't sample it.
    """
    index = read_index(folder)
    name = index.get("_class_name")
    found = PIPELINES.get(str(name), PIPELINES[SD])
    if _class_of(index, found.encoder) is None:
        raise UserError(f"{folder} has no {found.encoder}: a {name} can't be told a prompt without it")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    check_scheduler(_class_of(index, "scheduler") or "", read_json(scheduler) if scheduler.is_file() else {})
    unet, vae = (_config(folder, part) for part in ("unet", "vae"))
    wanted = KINDS[kind_of(folder)].channels(vae.get("latent_channels", 4))
    check_channels(unet.get("in_channels", wanted), wanted, folder / "unet")


def kind_of(folder: Path) -> str:
    """The kind of models in a diffusers folder; one for inpainting may hold a plain model's U-Net."""
    kind = PIPELINES.get(str(read_index(folder).get("_class_name")), PIPELINES[SD]).kind
    latents = _config(folder, "vae").get("latent_channels", 4)
    plain = KINDS[kind].mask and _config(folder, "unet").get("in_channels") == latents
    return "plain-inpainting" if plain else kind


def check_layout(file: Path, folder: Path) -> None:
    """Whether the folder that says how a single file's pipeline is laid out is of the file's architecture.

    Raises:
        UserError: its U-Net is told words of another width.
    """
    width, found = text_width(file), _config(folder, "unet").get("cross_attention_dim")
    if width is not None and isinstance(found, int) and found != width:
        raise UserError(
            f"--pipeline-config {folder} is the layout of another architecture: its U-Net takes text embeddings "
            f"{found} wide, and that of {file} {width}"
        )


def check_file(file: Path) -> None:
    """Of a checkpoint in one file.

    Raises:
        UserError: it takes more than noisy latents, or a mask and a picture beside them, or is quantised otherwise than
            in float8.
    """
    if not for_inpainting(file) and not for_editing(file):
        check_channels(in_channels(file), 4, file)


def for_inpainting(file: Path) -> bool:
    """Whether a checkpoint's U-Net sees a mask and a picture too. Raises UserError as `check_file`."""
    return in_channels(file) == 9


def for_editing(file: Path) -> bool:
    """Whether a checkpoint is Stable Diffusion 1's whose U-Net sees a picture too. Raises UserError as `check_file`."""
    return in_channels(file) == 8 and text_width(file) == 768


def check_unet(place: Path, folder: Path) -> None:
    """Of a U-Net, a folder or file, that is to stand in for the one of the pipeline in `folder`.

    Raises:
        UserError: it takes another number of channels.
    """
    config = place / "config.json"
    channels = (
        in_channels(place) if place.is_file() else read_json(config).get("in_channels") if config.is_file() else None
    )
    check_channels(channels, _config(folder, "unet").get("in_channels"), place)


def check_channels(found: Any, wanted: Any, place: Path) -> None:
    """Raises UserError where a U-Net takes other channels than this one is given. None is not known."""
    if found is None or wanted is None or found == wanted:
        return
    kind = {
        9: ": it is for inpainting",
        8: ": it edits pictures (InstructPix2Pix)",
        7: ": it makes pictures larger",
    }.get(found, "")
    raise UserError(f"{place} holds a U-Net of {found} input channels, where {wanted} are expected{kind}")


def check_scheduler(name: str, config: Mapping[str, Any]) -> None:
    """Whether a scheduler samples models that were trained to tell noise from image.

    Raises:
        UserError: it is made for flow matching, or needs a package that is not there.
    """
    flows = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    if name.startswith("FlowMatch") or flows:
        raise UserError(
            f"the pipeline's scheduler is a {name} for flow matching, and its U-Net is sampled from noise: give it "
            "another in scheduler/scheduler_config.json and model_index.json, as DDIMScheduler"
        )
    if name in BROWNIAN and importlib.util.find_spec("torchsde") is None:
        raise UserError(f"the pipeline's scheduler is a {name}, which needs torchsde: pip install torchsde")


def check_sampling(folder: Path, spec: ModelSpec) -> None:
    """Whether the pipeline in a diffusers folder can be run under the spec's sampling settings.

    Raises:
        UserError: its scheduler can't run the model or takes no eta, or clip skip or size are not the pipeline's.
    """
    own = _class_of(read_index(folder), "scheduler") or ""
    file = folder / "scheduler" / "scheduler_config.json"
    config = {**(read_json(file) if file.is_file() else {}), **spec.scheduler_config}
    if spec.scheduler not in (DEFAULT, OF_EDM):
        chosen = named(spec.scheduler)
        check_runs(chosen, own, config)
        check_scheduler(chosen.sampler.kind, {})
    check_eta(spec.eta, _kind(spec.scheduler, own))
    found = (_config(folder, part).get("num_hidden_layers") for part in ("text_encoder", "text_encoder_2"))
    layers = [each for each in found if isinstance(each, int)]
    if layers:
        check_clip_skip(spec.clip_skip, min(layers))
    levels = _config(folder, "vae").get("block_out_channels")
    if isinstance(levels, list) and levels:
        for size in spec.sizes or (spec.size,):
            check_size(size, 2 ** (len(levels) - 1))


def check_sampling_early(spec: ModelSpec) -> None:
    """As `check_sampling`, where the pipeline is on this machine; the layout of a single file is looked for.

    Raises:
        UserError: as there, or the layout can't be had, or is of another architecture.
    """
    is_file = spec.traits.here and spec.folder.is_file()
    layout = locate_config(spec) if is_file else spec.folder
    if spec.traits.drawn != "own" and (layout / "model_index.json").is_file():
        if is_file:
            check_layout(spec.folder, layout)
        check_sampling(layout, spec)


def with_schedule(name: str, spec: ModelSpec) -> str:
    """The name of a scheduler as other tools have to be told it: where it has no schedule, with the one that the spec
    and its pipeline give it. Linspace, which they take a bare name for, is not said, nor what they could not set; a
    pipeline that is not on this machine, or no longer, tells nothing.
    """
    if name in (DEFAULT, OF_EDM) or spec.timesteps or not spec.traits.here:
        return name
    chosen = named(name)
    if chosen.schedule is not None or chosen.sampler.name in OWN_STEPS:
        return name
    try:
        if (folder := at_hand(spec)) is None:
            return name
        own, file = _class_of(read_index(folder), "scheduler") or "", folder / "scheduler" / "scheduler_config.json"
        config = {**(read_json(file) if file.is_file() else {}), **spec.scheduler_config}
    except UserError:  # it was there as the study began
        return name
    if in_edm(own, config):
        return name
    fitting = [each for each in SCHEDULES if (chosen.sampler.curved if each.curved else chosen.sampler.spaced)]
    found = next((each for each in fitting if _is_on(each, config)), None)
    return name if found is None or found.name == "linspace" else Scheduler(chosen.sampler, found).name


def _is_on(schedule: Schedule, config: Mapping[str, Any]) -> bool:
    """Whether a scheduler's config has a schedule; those of sigmas go before those of timesteps."""
    return any(config.get(key) == value for key, value in schedule.changes.items() if value)


def check_eta(eta: float | None, kind: str) -> None:
    """Raises UserError where a scheduler of diffusers' class `kind` adds no noise that eta sets."""
    if not eta or any(each.eta is not None and each.kind == kind for each in SAMPLERS):
        return
    takes = " or ".join(each.name for each in SAMPLERS if each.eta is not None)
    raise UserError(f"--eta {eta:g} means nothing to diffusers' {kind}: give --scheduler {takes}, or leave it out")


def _kind(scheduler: str, own: str) -> str:
    """The class of a spec's scheduler. own: of the pipeline's."""
    return own if scheduler == DEFAULT else EDM["DPM++ 2M"] if scheduler == OF_EDM else named(scheduler).sampler.kind


def check_clip_skip(clip_skip: int | None, layers: int) -> None:
    """Raises UserError where a text encoder has not so many layers."""
    if clip_skip is not None and clip_skip > layers:
        raise UserError(f"--clip-skip {clip_skip}: the model's text encoder has {layers} layers: give 1 to {layers}")


def check_size(size: tuple[int, int] | None, factor: int) -> None:
    """Raises UserError for a size (width, height) that isn't one of the VAE's latents. factor: its pixels for each."""
    if size is None or all(each % factor == 0 for each in size):
        return
    near = "x".join(str(max(1, round(each / factor)) * factor) for each in size)
    raise UserError(
        f"--size {size[0]}x{size[1]}: the model's VAE makes {factor} pixels of each latent: give multiples of that, as "
        f"{near}"
    )


def _class_of(index: Mapping[str, Any], part: str) -> str | None:
    found = index.get(part)
    return str(found[-1]) if isinstance(found, list) and found and found[-1] is not None else None


def _config(folder: Path, part: str) -> dict[str, Any]:
    file = folder / part / "config.json"
    return read_json(file) if file.is_file() else {}


def in_channels(file: Path) -> int | None:
    """Of the U-Net in a safetensors file; None where it is in an unknown layout.

    Raises:
        UserError: its weights are quantised otherwise than in float8.
    """
    found = header(file)
    first = next((found[name] for name in FIRST if name in found), None)
    for name, each in found.items():
        if name.endswith(".weight") and len(each.get("shape", ())) > 1 and each.get("dtype") not in TYPES:
            raise UserError(
                f"{file}: {name} is quantised to {each.get('dtype')}: give the model in 16 bit, or in float8"
            )
    return first["shape"][1] if first is not None and len(first["shape"]) == 4 else None
