"""Presets in the formats of the tools that people use, written and, where the format allows it, read back.

A format is one file here and one word in FORMATS, in the order in which reading tries them. The file has FILE (a usual
name), PLACE (where that goes, for people) and `render(preset) -> str`; where it can be read, `parse(text)`, the presets
by name, none where the text is of another format; where its file is shared with other content, `merge(preset, text) ->
str`; where it holds sampling settings, SAMPLING, their names, and SCHEDULERS, the tool whose names of schedulers it
uses (`.sampled.has_scheduler`). What a tool can't honour is refused with the reason and the nearest thing that can be
done (tool.py), never written silently wrong.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import configs
from configs import UserError

from . import embedded
from .preset import SCORE_KEYS, Preset, PresetError

__all__ = [
    "FORMATS",
    "SCORE_KEYS",
    "Preset",
    "PresetError",
    "module",
    "read",
    "read_all",
    "render",
    "save",
    "write",
]

FORMATS = (
    "yaml",
    "diffusers",
    "comfyui",
    "sdwebui",
    "sdwebui_api",
    "forge",
    "forge_api",
    "fooocus",
    "invokeai",
    "sdnext",
    "refiners",
    "infotext",
)
"""Each the name of a module here."""
READ = FORMATS[1:]
"""Those that may have `parse`, in the order that they are tried."""


def module(format: str) -> Any:
    """The file of a format. Raises UserError, with the nearest name, where there is none."""
    if format not in FORMATS:
        raise configs.unknown("preset format", format, FORMATS)
    return import_module(f".{format}", __name__)


def render(preset: Preset, format: str) -> str:
    """The preset as text in a format of FORMATS.

    Raises:
        PresetError: the format can't honour this preset.
        UserError: no such format.
    """
    text: str = module(format).render(preset)
    return text


def write(preset: Preset, path: Path | str, format: str) -> Path | None:
    """Writes the preset, into what is there where the format's file is shared; returns the backup, as `save` does.

    Raises:
        PresetError, UserError: see `render`; the file can't be written, or holds what the preset can't be merged into.
    """
    path, chosen = Path(path), module(format)
    text = chosen.render(preset)
    if hasattr(chosen, "merge") and path.is_file():
        try:
            text = chosen.merge(preset, _text(path))
        except PresetError as error:
            raise PresetError(f"{path}: {error}") from error
    return save(path, text.encode())


def save(path: Path, content: bytes) -> Path | None:
    """Writes a file: it is there whole or not at all. One that was there and held something else becomes FILE.bak (or
    .bak1, …), whose path is returned; both have its mode. A link stays: what it leads to is written, and kept beside
    that.

    Raises:
        UserError: it can't be written.
    """
    try:
        if path.is_dir():
            raise UserError(f"can't write {path}: it is a folder; name a file in it")
        if path.exists() and not path.is_file():
            raise UserError(f"can't write {path}: it is no plain file; name another")
        if path.is_file() and path.read_bytes() == content:
            return None
        file = path.resolve() if path.is_symlink() else path
        mode = stat.S_IMODE(file.stat().st_mode) if file.is_file() else 0o644
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:64]}.")
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        raise UserError(f"can't write {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(name, mode)  # a temporary file is its owner's alone
        backup = _backup(file) if file.is_file() else None
        os.replace(name, file)
    except OSError as error:
        raise UserError(f"can't write {path}: {error}") from error
    finally:
        Path(name).unlink(missing_ok=True)
    return backup


def read_all(path: Path | str) -> dict[str, Preset]:
    """The presets of a file by name ("" where the format has none): one of ours, of another tool, or an image that a
    web UI or ComfyUI made, with its settings in it.

    Raises:
        PresetError, UserError: it can't be read, holds the baseline, or a value in it is wrong.
    """
    path = Path(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return {"": import_module(".yaml", __name__).read(path)}
    text = _text(path)
    if "freeu_preset:" in text and not text.startswith("{"):
        return {"": import_module(".yaml", __name__).read(path)}
    readable = {format: chosen for format in READ if hasattr(chosen := module(format), "parse")}
    for format, chosen in readable.items():
        try:
            presets: dict[str, Preset] = chosen.parse(text)
        except (UserError, TypeError) as error:
            raise PresetError(f"{path}, read as {format}: {error}") from error
        if presets:
            return presets
    others = ", ".join(each for each in readable if each != "infotext")
    raise PresetError(
        f"{path} holds no settings of FreeU that can be read: expected a preset of ours, of {others}, or an image or "
        "text with the settings of a web UI or ComfyUI"
    )


def read(path: Path | str, name: str | None = None) -> Preset:
    """The one preset of a file, or the one of that name; see `read_all`."""
    presets = read_all(path)
    if name is not None and name not in presets:
        raise configs.unknown(f"preset in {path}", name, presets)
    if name is None and len(presets) > 1:
        raise PresetError(f"{path} holds {len(presets)} presets: name one of {', '.join(map(repr, presets))}")
    return presets[name] if name is not None else next(iter(presets.values()))


def _text(path: Path) -> str:
    content = configs.read_bytes(path)
    if content.startswith(embedded.IMAGES):
        from .infotext import of_image

        return of_image(path)
    return configs.decoded(content, str(path))


def _backup(path: Path) -> Path:
    number = 0
    while (kept := path.with_name(f"{path.name}.bak{number or ''}")).exists() or kept.is_symlink():
        number += 1
    kept.touch(mode=0o600)  # its owner's alone until it has the mode of what it keeps
    shutil.copy2(path, kept)
    return kept
