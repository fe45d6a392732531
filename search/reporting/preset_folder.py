"""A folder with a preset in every format that fits, and a README that says where each goes and what was left out."""

from __future__ import annotations

from pathlib import Path

from freeu import presets
from freeu.presets import Preset, PresetError
from freeu.presets.sampled import has_scheduler, in_words, without
from search.reporting.markdown import code, plain


def write(preset: Preset, folder: Path) -> tuple[list[str], list[Path]]:
    """The formats written, and the backups of what was there. Raises UserError where the folder can't be written."""
    files: dict[str, str] = {}
    left: dict[str, str] = {}
    for format in presets.FORMATS:
        try:
            files[format] = presets.render(preset, format)
        except PresetError as error:
            left[format] = str(error)
    backups = [
        presets.save(folder / presets.module(format).FILE, text.encode("utf-8")) for format, text in files.items()
    ]
    backups.append(presets.save(folder / "README.md", _readme(preset, list(files), left).encode("utf-8")))
    return list(files), [backup for backup in backups if backup is not None]


def by_hand(preset: Preset, format: str) -> str:
    """What is to be set beside a format's file: the settings that it can't hold; "" where it holds them all."""
    module = presets.module(format)
    held = set(getattr(module, "SAMPLING", ()))
    if not has_scheduler(preset.sampling, getattr(module, "SCHEDULERS", None)):
        held.discard("scheduler")
    rest = in_words(without(preset.sampling, held))
    return f"found at {rest}, which the format {format} doesn't hold: set it in the tool" if rest else ""


def _found(preset: Preset) -> list[str]:
    said = in_words(preset.sampling)
    return [f"Found at {plain(said)}.", ""] if said else []


def _by_hand(preset: Preset, written: list[str]) -> list[str]:
    said = {format: by_hand(preset, format) for format in written}
    lines = [f"- `{presets.module(format).FILE}`: {plain(text)}" for format, text in said.items() if text]
    return ["", "Settings to make by hand:", "", *lines] if lines else []


def _readme(preset: Preset, written: list[str], left: dict[str, str]) -> str:
    f = preset.factors
    origin = f" Found by the study {code(preset.study)}, pick {code(preset.pick or '')}." if preset.study else ""
    lines = [
        "# FreeU factors",
        "",
        f"b1 {f.b1:g}, b2 {f.b2:g}, s1 {f.s1:g}, s2 {f.s2:g}, version {f.version}, stages by {f.stages}. "
        f"For {code(preset.model) if preset.model else 'a model that is not named'}.{origin}",
        "",
        *([plain(preset.verdict), ""] if preset.verdict else []),
        *_found(preset),
        "| file | where it goes |",
        "|---|---|",
        *(f"| `{presets.module(format).FILE}` | {presets.module(format).PLACE} |" for format in written),
        *_by_hand(preset, written),
    ]
    if left:
        lines += ["", "Left out:", ""]
        lines += [f"- {format}: {plain(reason)}" for format, reason in left.items()]
    return "\n".join(lines) + "\n"
