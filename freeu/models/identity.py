"""Which files a diffusers pipeline is loaded from, and what names them: a hash over their contents.

Only what is loaded counts: another variant in the hub's cache, a safety checker or a README changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import configs
from configs import UserError

from . import hashes

NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2", "motion_adapter")
OTHERS = ("tokenizer", "tokenizer_2", "scheduler", "low_res_scheduler")
PLAIN = {
    "StableDiffusionPAGPipeline": "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline": "StableDiffusionPipeline",
    "StableDiffusionXLPAGPipeline": "StableDiffusionXLPipeline",
    "AnimateDiffPAGPipeline": "AnimateDiffPipeline",
}
"""Pipelines that hold the same networks as another, and are read as that one."""
OF_VIDEO_DIFFUSION = ("image_encoder", "feature_extractor")
"""Stable Video Diffusion's alone; elsewhere they serve a safety checker or an adapter, and aren't loaded."""
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<variant>\w+))?(?:-\d+-of-(?P<count>\d+))?"
    r"\.(?P<kind>safetensors|bin)"
)


def read_index(folder: Path) -> dict[str, Any]:
    """The model_index.json of a pipeline's folder.

    Raises:
        UserError: there is none, or it can't be read.
    """
    file = folder / "model_index.json"
    if not file.is_file():
        raise UserError(f"{folder} is no diffusers pipeline: it has no model_index.json")
    found = read_json(file)
    name = found.get("_class_name")
    return {**found, "_class_name": PLAIN.get(name, name)} if isinstance(name, str) else found


def read_json(file: Path) -> dict[str, Any]:
    """A file that holds a JSON object.

    Raises:
        UserError: it can't be read, or holds something else.
    """
    found = configs.read_json(file, nan=True)  # schedulers of diffusers hold -Infinity
    if not isinstance(found, dict):
        raise UserError(f"{file}: expected a JSON object")
    return found


def files(folder: Path, variant: str | None = None) -> list[Path]:
    """The files that the pipeline is loaded from, sorted by name; `variant` is preferred where it is present.

    Raises:
        UserError: a component that the index names, or its weights, are not there.
    """
    found = layout(folder)
    for part in _components(folder):
        if part.name in (*NETWORKS, "image_encoder"):
            found += weights(part, variant)
    return sorted(found)


def layout(folder: Path) -> list[Path]:
    """Those of them that are no weights, sorted by name: the index, and each component's config or vocabulary.

    Raises:
        UserError: a component that the index names is not there.
    """
    found = [folder / "model_index.json"]
    for part in _components(folder):
        if not part.is_dir():
            raise UserError(f"{folder} is incomplete: it has no folder {part.name}")
        found += [file for file in part.iterdir() if file.suffix in (".json", ".txt") and ".index." not in file.name]
    return sorted(found)


def _components(folder: Path) -> list[Path]:
    """The folders of what the index names and is loaded."""
    index = read_index(folder)
    more = OF_VIDEO_DIFFUSION if index.get("_class_name") == "StableVideoDiffusionPipeline" else ()
    named = [name for name in (*NETWORKS, *OTHERS, *more) if isinstance(index.get(name), list)]
    return [folder / name for name in named if index[name] and index[name][0] is not None]


def weights(part: Path, variant: str | None = None) -> list[Path]:
    """The weight files of one component: safetensors before pickles, the variant before the plain ones.

    Raises:
        UserError: there are none, or shards are missing.
    """
    by_choice: dict[tuple[str, str | None], list[Path]] = {}
    for file in part.iterdir():
        if (match := WEIGHTS.fullmatch(file.name)) is not None:
            by_choice.setdefault((match["kind"], match["variant"]), []).append(file)
    for choice in [(kind, name) for kind in ("safetensors", "bin") for name in (variant, None)]:
        if choice in by_choice:
            chosen = by_choice[choice]
            match = WEIGHTS.fullmatch(chosen[0].name)
            if match is not None and match["count"] is not None and int(match["count"]) != len(chosen):
                raise UserError(f"{part} is incomplete: {len(chosen)} of {int(match['count'])} weight files are there")
            return chosen
    others = ", ".join(sorted({str(name) for _, name in by_choice}))
    raise UserError(f"{part} holds no weights" + (f" but those of another variant: {others}" if others else ""))


def has_variant(folder: Path, variant: str | None) -> bool:
    """Whether any network of the pipeline has weights of this variant."""
    return variant is not None and any(
        (match := WEIGHTS.fullmatch(file.name)) is not None and match["variant"] == variant
        for name in NETWORKS
        for file in (folder / name).glob("*")
    )


def chosen_variant(part: Path, variant: str | None) -> str | None:
    """The variant of the weights in a network's folder that are loaded where `variant` is preferred."""
    match = WEIGHTS.fullmatch(weights(part, variant)[0].name)
    return match["variant"] if match is not None else None


def only_variant(folder: Path) -> str | None:
    """The variant, as "fp16", of all weights in a network's folder; None where there are plain ones, or several."""
    found = {match["variant"] for file in folder.glob("*") if (match := WEIGHTS.fullmatch(file.name)) is not None}
    return found.pop() if len(found) == 1 else None


def identity(folder: Path, variant: str | None = None, addons: Sequence[Path] = ()) -> str:
    """SHA-256, in hex, over the names and contents of what the pipeline is loaded from, and of what is put on it."""
    named = [(file, file.relative_to(folder).as_posix()) for file in files(folder, variant)]
    return _over([*named, *((file, f"+{file.name}") for file in addons)])


def identity_of_file(file: Path, config: Path, addons: Sequence[Path] = ()) -> str:
    """The same of a single-file checkpoint, whatever it is called, and of the layout in the folder `config`: from there
    come its scheduler and tokenizer.

    Raises:
        UserError: a component that the layout's index names is not there.
    """
    read = [(each, each.relative_to(config).as_posix()) for each in layout(config)]
    return _over([(file, ""), *read, *((each, f"+{each.name}") for each in addons)])


def _over(named: Sequence[tuple[Path, str]]) -> str:
    digest = hashlib.sha256()
    for file, name in named:
        digest.update(name.encode() + b"\0")
        digest.update(hashes.of_file(file))
    return digest.hexdigest()


def large_files(place: Path, variant: str | None, more: Sequence[Path]) -> list[Path]:
    """Of what a model here is loaded from, the files whose hashes take their time. place: its folder or single file.
    more: what is put on it. One that is not whole has none: that is told where it is loaded."""
    try:
        whole = files(place, variant) if place.is_dir() else [place] if place.is_file() else []
        return [file for file in [*whole, *more] if file.stat().st_size >= hashes.LARGE]
    except (UserError, OSError):
        return []
