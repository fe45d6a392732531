"""Finds the folder of a pipeline: a folder on disk, then the hub's cache, then the hub itself.

The hub is asked one short question before anything is downloaded: where it can't be reached, that is said in
seconds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from configs import UserError

from .catalogue import from_yaml, of_source
from .control import weighted
from .identity import files, layout, weights
from .spec import HUB_ID, PARTS, ModelSpec

ASK_SECONDS, GIVE_UP_SECONDS = 5.0, 10.0
"""For the answer of the hub, and for everything before it (a dead name server has limits of its own)."""

SMALL = ["*.json", "*.txt"]
"""Files of a pipeline that are no weights."""


SINGLE = (PARTS["controlnet"], PARTS["t2i_adapter"])
"""Flags of networks that may be a single file."""


@dataclass(frozen=True)
class Wanted:
    """Weights that are looked for.

    Attributes:
        name: what to call it. source: a folder relative to `base`, or a hub id. flag: where the user gives a folder.
        alone: one network, not a pipeline. file: the YAML of a model of which a folder alone would not be all.
    """

    name: str
    source: str
    base: Path
    flag: str
    revision: str | None = None
    variant: str | None = None
    alone: bool = False
    file: Path | None = None

    @property
    def folder(self) -> Path:
        return self.base / self.source

    @property
    def probe(self) -> str:
        """The file that is there wherever it is."""
        return "config.json" if self.alone else "model_index.json"

    @property
    def patterns(self) -> str:
        """What of the repository is needed, as `hf download` takes it."""
        if self.alone:
            return '--include config.json "diffusion_pytorch_model*.safetensors"'
        if self.variant is not None:
            return f'--include "*.json" "*.txt" "*/*.{self.variant}.safetensors"'
        return '--include "*.json" "*.txt" "*/*.safetensors" --exclude "*.fp16.*" "safety_checker/*"'

    def check(self, folder: Path) -> None:
        """Raises UserError where something of it is missing."""
        if self.alone:
            if not (folder / "config.json").is_file():
                raise UserError(f"{self.flag} {folder} is no network of diffusers': it has no config.json")
            weights(folder, self.variant)
        else:
            files(folder, self.variant)


def locate(spec: ModelSpec) -> Path:
    """The folder with all that the pipeline needs; downloads it where it must.

    Raises:
        UserError: it can't be had; names each place that was tried, why it failed there, and what to do.
    """
    return find(replace(_wanted(spec), file=_more_than_a_folder(spec)))


def find(wanted: Wanted) -> Path:
    """The same of any weights."""
    if wanted.folder.is_dir():
        wanted.check(wanted.folder)
        return wanted.folder
    if wanted.flag in SINGLE and wanted.folder.suffix == ".safetensors" and wanted.folder.is_file():
        return wanted.folder
    if not HUB_ID.fullmatch(wanted.source):
        raise UserError(f"{wanted.flag}: the weights of {wanted.name} are not there: {wanted.folder} is no folder")
    tried = [f"the folder {wanted.folder}: not there"]
    cached = _cached(wanted, tried)
    return cached if cached is not None else _download(wanted, tried)


def found_here(wanted: Wanted) -> Path | None:
    """The same without the hub: None for what would have to be got from there."""
    if wanted.folder.exists() or not HUB_ID.fullmatch(wanted.source):
        return find(wanted)
    return _cached(wanted, [])


def _wanted(spec: ModelSpec) -> Wanted:
    return Wanted(spec.name, spec.source, spec.base, "--model", spec.revision, spec.variant)


def _more_than_a_folder(spec: ModelSpec) -> Path | None:
    """The YAML of the spec, where `load_spec` would make something else of the folder of its pipeline."""
    file = spec.base / f"{spec.name}.yaml"
    if not file.is_file() or from_yaml(file).source != spec.source:
        return None
    known = of_source(spec.source.rpartition("/")[2])
    return None if known is not None and (known.base, known.name) == (spec.base, spec.name) else file


def wanted_parts(spec: ModelSpec) -> list[tuple[str, Wanted]]:
    """The networks beside the pipeline's own, each with the field of PARTS that it is."""
    named = [(field, source) for field in PARTS if (source := getattr(spec, field, None))]
    named += [("controlnet", weighted(text)[0]) for text in spec.controlnets]
    named += [("t2i_adapter", weighted(text)[0]) for text in spec.t2i_adapters]
    return [
        (
            field,
            Wanted(f"the {PARTS[field][2:]} of {spec.name}", source, spec.base, PARTS[field], alone=field != "refiner"),
        )
        for field, source in named
    ]


def locate_config(spec: ModelSpec) -> Path:
    """The folder that says how a single-file checkpoint's pipeline is laid out.

    Raises:
        UserError: it can't be had; says what was tried and what to do.
    """
    wanted = str(spec.config)
    folder = spec.base / wanted
    if (folder / "model_index.json").is_file():
        return folder
    try:
        return hub_layout(wanted)
    except UserError as error:
        raise UserError(
            f"{spec.source} is one file, and how its pipeline is laid out can't be had: {folder} is no pipeline's "
            f"folder, and {error}. Give --pipeline-config FOLDER: any diffusers folder of the same architecture, of "
            "which the weights are not read"
        ) from error


def hub_layout(repo: str) -> Path:
    """A folder with the JSON and tokenizer files of a pipeline on the hub, and none of its weights.

    Raises:
        UserError: neither the hub's cache nor the hub has it.
    """
    if not HUB_ID.fullmatch(repo):
        raise UserError(f"{repo} is no hub id")
    import huggingface_hub

    if (found := _cached_layout(repo)) is not None:
        return found
    reason = _unreachable(repo, None)
    try:
        if reason is None:
            return Path(huggingface_hub.snapshot_download(repo, allow_patterns=SMALL))
    except Exception as error:  # as in _download
        reason = _short(error)
    raise UserError(f"{repo} is neither in the hub's cache nor to be got from the hub ({reason})")


def _cached_layout(repo: str) -> Path | None:
    import huggingface_hub

    try:
        found = Path(huggingface_hub.snapshot_download(repo, allow_patterns=SMALL, local_files_only=True))
        layout(found)
    except Exception:  # not in the cache, or not all of it
        return None
    return found


def at_hand(spec: ModelSpec) -> Path | None:
    """The folder of its pipeline, or the one that says how a single file is laid out, where that is a folder here or in
    the hub's cache; None where it is not, or not whole. Asks nobody.

    Raises:
        UserError: a folder that was given is not there, or lacks some of its files.
    """
    if not spec.folder.is_file():
        return found_here(_wanted(spec))
    folder = spec.base / str(spec.config)
    if (folder / "model_index.json").is_file():
        return folder
    return _cached_layout(str(spec.config)) if HUB_ID.fullmatch(str(spec.config)) else None


def here(spec: ModelSpec) -> Path | None:
    """The model's folder or file on this machine, the hub's cache among it; None where it is not here. Asks nobody."""
    wanted = _wanted(spec)
    return wanted.folder if wanted.folder.exists() else _cached(wanted, [])


def is_here(spec: ModelSpec) -> bool:
    """Whether all that the model is made of is a folder here or in the hub's cache; asks nobody."""
    every = [_wanted(spec), *(wanted for _, wanted in wanted_parts(spec))]
    return all(wanted.folder.is_dir() or _cached(wanted, []) is not None for wanted in every)


def _cached(wanted: Wanted, tried: list[str]) -> Path | None:
    from huggingface_hub import constants, try_to_load_from_cache

    index = try_to_load_from_cache(wanted.source, wanted.probe, revision=wanted.revision)
    where = f"the hub's cache {constants.HF_HUB_CACHE}"
    if not isinstance(index, str):
        tried.append(f"{where}: not there")
        return None
    try:
        wanted.check(Path(index).parent)
    except UserError as error:
        tried.append(f"{where}: {error}")
        return None
    return Path(index).parent


def _download(wanted: Wanted, tried: list[str]) -> Path:
    import huggingface_hub
    from huggingface_hub import constants

    hub = f"the hub {constants.ENDPOINT}"
    repo = wanted.source
    reason = _unreachable(repo, wanted.revision, wanted.probe)
    if reason is None:
        try:
            if wanted.alone:
                these = ["config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model-*"]
                return Path(huggingface_hub.snapshot_download(repo, revision=wanted.revision, allow_patterns=these))
            from diffusers import DiffusionPipeline

            return Path(
                DiffusionPipeline.download(
                    repo,
                    revision=wanted.revision,
                    variant=wanted.variant,
                    safety_checker=None,
                )
            )
        except Exception as error:  # the hub's client raises a dozen unrelated kinds
            reason = _short(error)
    folder = f"FOLDER/{repo.rpartition('/')[2]}"  # by whose name `load_spec` knows it
    give = f"{wanted.flag} {folder}"
    if wanted.file is not None:
        give = f"--model FILE.yaml: a copy of {wanted.file} that says `source: {folder}`"
    raise UserError(
        f"can't get the weights of {wanted.name} ({repo}). Tried:\n"
        + "".join(f"  - {line}\n" for line in [*tried, f"{hub}: {reason}"])
        + "What to do: connect this machine to the internet (or set HF_ENDPOINT to a mirror, or log in with "
        f"`hf auth login` if the hub asks for it); or run `hf download {repo} {wanted.patterns} --local-dir {folder}` "
        f"elsewhere, copy the folder here, and give {give}."
    )


def _unreachable(repo: str, revision: str | None, probe: str = "model_index.json") -> str | None:
    """Why the hub can't serve `repo`; None if it can. Answers within GIVE_UP_SECONDS."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    answer: list[str | None] = []

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(repo, probe, revision=revision), timeout=ASK_SECONDS)
            answer.append(None)
        except Exception as error:  # as in _download
            answer.append(_short(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(GIVE_UP_SECONDS)
    return answer[0] if answer else f"no answer within {GIVE_UP_SECONDS:g} s"


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
