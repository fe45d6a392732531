"""Networks that turn images (and texts) into vectors; several metrics share the embeddings of one.

Images are resized as uint8, bicubic and antialiased, as Pillow does and clean-fid asks for, and only where their size
isn't the encoder's own. An encoder's identity names its weights, and the settings that decide what they see: heads and
references made with another are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch

from configs import UserError, identity, quoted, read_json, unknown

from .hub import SECONDS_TO_ANSWER, why_not

BATCH = 64
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels that OpenAI's CLIP was trained on, and those after it."""
TOKENIZER_ARGUMENTS = {"clean", "strip_sep_token", "language"}
"""Of an open_clip folder's `tokenizer_kwargs`: those that open_clip reads itself."""


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder.

    Attributes:
        identity: names the weights, by content for a folder, by name for the hub's; behind a space what else decides an
            embedding and is set in the YAML.
        images: from uint8 (n, 3, H, W), n small, to (n, d) on the encoder's device, not normalised.
        texts: from n strings to (n, d), or None for an encoder of images alone.
        fit: resizes uint8 images as this encoder does itself; None where it takes any size.
        shape: open_clip's `model_cfg` where the weights are from this disk, so that nothing tells whose they are.
    """

    name: str
    identity: str
    images: Callable[[torch.Tensor], torch.Tensor]
    texts: Callable[[Sequence[str]], torch.Tensor] | None = None
    fit: Callable[[torch.Tensor], torch.Tensor] | None = None
    shape: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def embed_images(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (n, d) on the CPU, from uint8 (n, 3, H, W)."""
        with torch.inference_mode():
            return torch.cat([self.images(part).float().cpu() for part in images.split(BATCH)])

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 (n, d) on the CPU."""
        if self.texts is None:
            raise UserError(f"the encoder {self.name} reads images alone; a score of prompts needs an open_clip model")
        with torch.inference_mode():
            parts = [self.texts(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
            return torch.cat([part.float().cpu() for part in parts])


def made_with(named: str, encoder: str) -> bool:
    """Whether a file that names its encoder was made with the one of this identity.

    A file that names weights alone, as `configs.identity` does, fits them under all settings.
    """
    return named in (encoder, encoder.partition(" ")[0])


def short(identity: str) -> str:
    """An encoder's identity for a message: its settings whole, as they may be all that differs."""
    weights, space, settings = identity.partition(" ")
    return weights[:48] + space + settings


_LOADED: dict[tuple[str, str, str], Encoder] = {}


def encoder(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    """The encoder that a model's YAML names; loaded once a process.

    Args:
        spec: kind and what it needs: {kind: open_clip, source: "local-dir:PATH"} or {kind: open_clip, model,
            pretrained}, in place of pretrained also weights: FILE or {repository, file} of the hub; {kind: clip,
            source[, tokenizer]} for a CLIPModel of transformers; {kind: transformers, source, mean, std, size};
            {kind: inception[, weights]}.
        models: what relative paths are relative to.

    Raises:
        UserError: an unknown kind, or weights that can't be had.
    """
    key = (repr(sorted(spec.items(), key=str)), device, str(models.resolve()))
    if key not in _LOADED:
        kinds = {"open_clip": _open_clip, "clip": _clip, "transformers": _transformers, "inception": _inception}
        if spec.get("kind") not in kinds:
            raise unknown("kind of encoder", str(spec.get("kind")), kinds)
        try:
            _LOADED[key] = kinds[spec["kind"]](spec, device, models)
        except KeyError as error:
            raise UserError(
                f"an encoder of kind '{spec['kind']}' needs {error}, and its YAML has {dict(spec)}"
            ) from error
    return _LOADED[key]


def fitted(
    images: torch.Tensor, size: tuple[int, int], interpolation: str = "bicubic", mode: str = "squash"
) -> torch.Tensor:
    """uint8 images of the size asked for; "shortest" keeps the shape and crops the middle, "squash" doesn't."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    if tuple(images.shape[-2:]) == size:
        return images
    kind = InterpolationMode(interpolation)
    if mode == "squash":
        return functional.resize(images, list(size), kind, antialias=True)
    if mode != "shortest":
        raise UserError(f"an encoder asks for resizing by {mode!r}: 'squash' and 'shortest' are known")
    return functional.center_crop(functional.resize(images, [min(size)], kind, antialias=True), list(size))


def scaled(images: torch.Tensor, mean: Sequence[float], std: Sequence[float], device: str) -> torch.Tensor:
    """uint8 images on the device as float32 in 0..1, less `mean`, by `std`."""
    shape = (1, 3, 1, 1)
    pixels = images.to(device).float() / 255
    return (pixels - torch.tensor(mean, device=device).view(shape)) / torch.tensor(std, device=device).view(shape)


def _open_clip(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    import open_clip
    from transformers import AutoConfig

    shape = None
    if "source" in spec:
        folder = models / str(spec["source"]).removeprefix("local-dir:")
        if not (folder / "open_clip_config.json").is_file():
            raise UserError(f"{folder} is no open_clip folder: it lacks open_clip_config.json")
        name, pretrained, label = f"local-dir:{folder}", None, identity(folder)
        shape = _checked_shape(folder)
    elif "weights" in spec:
        file = weights_file(spec["weights"], models)
        name, pretrained, label = spec["model"], None, f"open_clip:{spec['model']}/{identity(file)}"
        shape = open_clip.get_model_config(name)
    else:
        name, pretrained = spec["model"], spec["pretrained"]
        _check_open_clip(name, pretrained)
        label = f"open_clip:{name}/{pretrained}"
    try:
        words = (open_clip.get_model_config(name) or {}).get("text_cfg", {})
        if words.get("hf_model_name"):  # refused here, as open_clip has transformers ask whether its code may run
            AutoConfig.from_pretrained(words["hf_model_name"], trust_remote_code=False)
        model = open_clip.create_model(name, pretrained=pretrained, precision="fp32", device=device)
        safe = {"trust_remote_code": False} if words.get("hf_tokenizer_name") else {}
        tokenizer = open_clip.get_tokenizer(name, **safe)
        if "weights" in spec:
            model.load_state_dict(_state(file))
    except Exception as error:  # each loader and download of open_clip's raises its own
        raise UserError(f"can't load the open_clip model {spec.get('source') or label}: {error}") from error
    model.eval().requires_grad_(False)
    wanted = open_clip.get_model_preprocess_cfg(model)
    side = wanted["size"]
    size = (side, side) if isinstance(side, int) else tuple(side)

    fit = partial(fitted, size=size, interpolation=wanted["interpolation"], mode=wanted["resize_mode"])

    def images(part: torch.Tensor) -> torch.Tensor:
        return model.encode_image(scaled(fit(part), wanted["mean"], wanted["std"], device))

    def texts(part: Sequence[str]) -> torch.Tensor:
        return model.encode_text(tokenizer(list(part)).to(device))

    return Encoder(name, label, images, texts, fit, shape)


def _checked_shape(folder: Path) -> dict[str, Any]:
    """The `model_cfg` of an open_clip folder, whose `tokenizer_kwargs` open_clip hands on to transformers.

    Raises:
        UserError: a file that describes no model, or arguments that can run code.
    """
    file = folder / "open_clip_config.json"
    try:
        shape: dict[str, Any] = read_json(file)["model_cfg"]
        given = dict(shape["text_cfg"].get("tokenizer_kwargs") or {})
    except (UserError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file} describes no open_clip model: {type(error).__name__}: {quoted(str(error))}") from error
    if strange := sorted(given.keys() - TOKENIZER_ARGUMENTS):
        raise UserError(
            f"{file} gives the tokenizer {', '.join(strange)}: {', '.join(sorted(TOKENIZER_ARGUMENTS))} alone are "
            "taken, as others can run code of the folder; remove them there"
        )
    return shape


def _state(file: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of a file of weights, read without running code."""
    from safetensors.torch import load_file

    if file.suffix == ".safetensors":
        return load_file(file)
    state = torch.load(file, map_location="cpu", weights_only=True)
    return state.get("state_dict", state)


def _check_open_clip(name: str, tag: str) -> None:
    """Raises UserError for an unknown model or tag, a wrong activation, or weights that can't be had.

    Weights made with QuickGELU load into a model with GELU without a word, and score worse.
    """
    import open_clip

    shape = open_clip.get_model_config(name)
    if shape is None:
        near = get_close_matches(name, open_clip.list_models(), n=8, cutoff=0.5)  # of the more than hundred
        raise unknown("open_clip model", name, near)
    known = open_clip.get_pretrained_cfg(name, tag)
    if not known:
        raise unknown(f"weights of {name}", tag, open_clip.list_pretrained_tags_by_model(name))
    quick = known.get("quick_gelu", False)
    if quick != shape.get("quick_gelu", False):
        right = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
        raise UserError(
            f"the weights '{tag}' {'need' if quick else 'were made without'} QuickGELU: write model: {right}"
        )
    repository = "/".join(known.get("hf_hub", "").split("/")[:2])
    if repository and (why := why_not(repository)):
        raise UserError(f"the weights '{tag}' of {name} ({repository}) can't be had: {why}")


def weights_file(given: str | Mapping[str, str], models: Path) -> Path:
    """A file on this disk, or one of a repository on the hub."""
    if isinstance(given, str):
        file = models / Path(given).expanduser()
        if not file.is_file():
            raise UserError(f"the weights {file} are no file")
        return file
    from huggingface_hub import hf_hub_download

    repository, name = given["repository"], given["file"]
    try:
        return Path(hf_hub_download(repository, name, local_files_only=True))
    except OSError:  # not in the cache
        pass
    if why := why_not(repository):
        raise UserError(f"{name} of {repository} can't be had: {why}; or name a copy of your own in the model's YAML")
    return Path(hf_hub_download(repository, name))


def _place(given: str, models: Path) -> tuple[Path | str, str]:
    """(folder or name of the hub, what names it) of a model in transformers' format."""
    folder = models / given
    if folder.is_dir():
        return folder, identity(folder)
    if why := why_not(given):
        raise UserError(f"can't load the encoder '{given}': no such folder in {models}; as a name of the hub: {why}")
    return given, f"hub:{given}"


def tokens_of(given: str, models: Path) -> tuple[Any, str]:
    """(tokenizer in transformers' format, what names it), of a folder or the hub. Raises UserError."""
    from transformers import AutoTokenizer

    place, label = _place(given, models)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False), label
    except (OSError, ValueError) as error:
        raise UserError(f"can't load the tokenizer {place}: {error}") from error


def _clip(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    from transformers import CLIPModel

    source, label = _place(spec["source"], models)
    tokenizer, read_by = tokens_of(spec.get("tokenizer", spec["source"]), models)
    if read_by != label:
        label += f" tokenizer={read_by}"
    try:
        model = CLIPModel.from_pretrained(source, dtype=torch.float32).to(device).eval().requires_grad_(False)
    except (OSError, ValueError) as error:
        raise UserError(f"can't load the encoder {source}: {error}") from error
    side, limit = model.config.vision_config.image_size, model.config.text_config.max_position_embeddings
    fit = partial(fitted, size=(side, side), mode="shortest")

    def images(part: torch.Tensor) -> torch.Tensor:
        seen = model.vision_model(scaled(fit(part), CLIP_MEAN, CLIP_STD, device))
        return model.visual_projection(seen.pooler_output)

    def texts(part: Sequence[str]) -> torch.Tensor:
        read = tokenizer(list(part), padding="max_length", max_length=limit, truncation=True, return_tensors="pt")
        return model.text_projection(model.text_model(**read.to(device)).pooler_output)

    return Encoder(str(spec["source"]), label, images, texts, fit)


def _transformers(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    from transformers import AutoModel

    source, label = _place(spec["source"], models)
    mean, std = (",".join(str(float(each)) for each in spec[name]) for name in ("mean", "std"))
    label += f" size={spec['size']} mean={mean} std={std}"
    try:
        model = AutoModel.from_pretrained(source, dtype=torch.float32, trust_remote_code=False)
        model.to(device).eval().requires_grad_(False)
    except (OSError, ValueError) as error:
        raise UserError(f"can't load the encoder {source}: {error}") from error
    fit = partial(fitted, size=(spec["size"], spec["size"]))

    def images(part: torch.Tensor) -> torch.Tensor:
        return model(scaled(fit(part), spec["mean"], spec["std"], device)).pooler_output.flatten(1)

    return Encoder(str(spec["source"]), label, images, fit=fit)


def _inception(spec: Mapping[str, Any], device: str, models: Path) -> Encoder:
    import socket

    from torchmetrics.image.fid import NoTrainInceptionV3

    given = spec.get("weights")
    weights = None if given is None else models / Path(given).expanduser()
    if weights is not None and not weights.is_file():
        raise UserError(f"Inception's weights {weights} are no file")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)  # torch's download has no limit of its own
    try:
        if weights is not None:
            torch.load(weights, map_location="cpu", weights_only=True)  # torch-fidelity would run a pickle's code
        model = NoTrainInceptionV3("inception-v3-compat", ["2048"], None if weights is None else str(weights))
    except ModuleNotFoundError as error:
        raise UserError(f"Inception needs the package torch-fidelity: pip install torch-fidelity ({error})") from error
    except Exception as error:  # a download's or a file's, each with its own class
        raise UserError(
            f"Inception's weights can't be had from {weights or 'their release on GitHub'} ({type(error).__name__}: "
            f"{error}); download torch-fidelity's file, name it: fid: {{encoder: {{kind: inception, weights: FILE}}}}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    model.to(device).requires_grad_(False)
    label = "inception-v3-compat" if weights is None else f"inception:{identity(weights)}"
    fit = partial(fitted, size=(299, 299))
    return Encoder("Inception v3", label, lambda part: model(fit(part).to(device)), fit=fit)
