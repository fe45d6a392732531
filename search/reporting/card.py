"""A card of a pick for a model hub's page: Markdown with YAML front matter, and a picture beside it.

It says what was found on held-out prompts, also where that is nothing.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError, open_image
from freeu import presets
from freeu.presets import Preset
from search.reporting.markdown import code, fenced, plain
from search.storage import StudyFolder
from search.study import reproduce, rival
from search.study.held_out import BASE
from search.study.verdict import COUNTS, measurable

if TYPE_CHECKING:
    from PIL import Image

HUB = re.compile(r"[\w.-]+/[\w.-]+")
SHOWN = 6  # held-out prompts in the picture: the first, whatever they show
SIDE, GAP = 192, 4  # pixels


def write(folder: StudyFolder, preset: Preset, number: int, out: Path) -> list[Path]:
    """Writes the card and its picture, out with the ending .png; returns the backups of what was there.

    number: the pick's trial. Raises UserError: the study is not finished, or a file can't be written.
    """
    result = folder.read_result()
    if result is None:
        raise UserError(f"study '{folder.name}' is not finished: a card needs scores on held-out prompts")
    if os.path.isdir(out):  # as Path.is_dir, which raises where a name is too long
        raise UserError(f"--out {out} is a folder: name a .md file in it, as {out / 'CARD.md'}")
    prompts, picture = _picture(folder, number)
    file = out.with_suffix(".png")
    if file == out:
        raise UserError(f"--out {out} is where the card's picture goes: name a .md file")
    backups = []
    if picture is not None:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        backups.append(presets.save(file, buffer.getvalue()))
    shown = (file.name, prompts) if picture is not None else None
    backups.append(presets.save(out, _card(folder, result, preset, number, shown).encode("utf-8")))
    return [backup for backup in backups if backup is not None]


def _card(
    folder: StudyFolder, result: Mapping[str, Any], preset: Preset, number: int, shown: tuple[str, list[str]] | None
) -> str:
    import yaml

    settings = folder.read_settings()
    fingerprint = settings["fingerprint"]
    source = str(fingerprint.get("source", "")).partition("@")[0]
    head: dict[str, Any] = {"tags": ["freeu", "diffusers"]}
    if HUB.fullmatch(source):
        head = {"base_model": source, **head}
    f = preset.factors
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).strip(),
        "---",
        "",
        f"# FreeU factors for {plain(preset.model)}",
        "",
        plain(preset.verdict or ""),
        "",
        "| b1 | b2 | s1 | s2 | version | stages |",
        "|---|---|---|---|---|---|",
        f"| {f.b1:.4g} | {f.b2:.4g} | {f.s1:.4g} | {f.s2:.4g} | {f.version} | by {f.stages} |",
        "",
        *_sampling(preset),
        f"Pick {plain(str(preset.pick))}, trial {number}, of the study {plain(folder.name)}. With another version "
        "or convention of stages the same numbers give other images. FreeU: [arXiv 2309.11497](https://arxiv.org/abs/2309.11497).",
        "",
        "## Scores on held-out prompts, beside the baseline",
        "",
        *_scores(preset.scores, result["objectives"]),
        "",
        *_rival(result, number),
        *_guardrails(folder, number),
    ]
    if shown is not None:
        name, prompts = shown
        lines += ["## Images", "", f"![The baseline above, with FreeU below](<{name}>)", ""]
        said = "The baseline above, FreeU below, from the same noise; the first held-out prompts, not a selection:"
        lines += [said, ""]
        lines += [f"{place}. {plain(prompt)}" for place, prompt in enumerate(prompts, 1)] + [""]
    lines += ["## Use", "", "```python", "import freeu", ""]
    lines += [f"factors = freeu.Factors({_arguments(preset)})", "with freeu.applied(pipe.unet, factors):", "    ..."]
    lines += ["```", "", "## Reproduce", ""]
    lines += fenced(reproduce.command(folder.name, settings, result["trials"]), "sh")
    hashes = reproduce.hashes(fingerprint) | {"weights": preset.model_identity}
    lines += ["", *(f"- {name}: {code(str(value))}" for name, value in hashes.items() if value)]
    lines += [f"- {plain(str(name))} {plain(str(version))}" for name, version in result.get("versions", {}).items()]
    return "\n".join(lines) + "\n"


def _sampling(preset: Preset) -> list[str]:
    """A table of the settings that are known."""
    values = preset.sampling.as_dict()
    if "size" in values:
        values["size"] = "x".join(map(str, values["size"]))
    if not values:
        return []
    rows = [f"| {name.replace('_', ' ')} | {plain(str(value)) or 'none'} |" for name, value in values.items()]
    return ["| found at | |", "|---|---|", *rows, ""]


def _rival(result: Mapping[str, Any], number: int) -> list[str]:
    """Beside FreeU off at the best other guidance, where the pick was compared with that."""
    pick = next((each for each in result["picks"] if each["number"] == number), None)
    found = None if pick is None else rival.of_pick(pick)
    if found is None or not found["scores"]:
        return []
    said = f"## Beside FreeU off at {plain(found['named'])} (trial {found['number']})"
    return [said, "", *_scores(found["scores"], result["objectives"], "FreeU off there"), ""]


def _scores(
    scores: Mapping[str, Mapping[str, Any]], directions: Mapping[str, str], base: str = "baseline"
) -> list[str]:
    if not scores:
        return ["None: this candidate is the baseline, or was not scored on held-out prompts."]
    lines = [
        f"| objective | better | {base} | with FreeU | difference | 95 % interval | p, corrected | prompts won | n |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, score in scores.items():
        interval = "" if score.get("low") is None else f"{score['low']:+.3g} to {score['high']:+.3g}"
        star = "\\*" if interval and score.get("p_holm") is not None and measurable(score) else ""
        numbers = (
            f"{score['value']:.4g}" if score.get("base") is None else f"{score['base']:.4g} | {score['value']:.4g}",
            _shown(score.get("difference"), "+.3g") + star,
            interval,
            _shown(score.get("p_holm"), ".2g"),
            _shown(score.get("win_rate"), ".0%"),
            _shown(score.get("n"), "d"),
        )
        lines.append(f"| {plain(name)} | {directions.get(name, '')} | " + " | ".join(numbers) + " |")
    starred = any("\\*" in line for line in lines)
    return [*lines, "", f"\\{COUNTS}."] if starred else lines


def _guardrails(folder: StudyFolder, number: int) -> list[str]:
    record = folder.read_trial(number)
    if record is None or not record.guardrails:
        return []
    said = ", ".join(f"{plain(name)} {shift:+.2f}" for name, shift in record.guardrails.items())
    state = "within bounds" if record.feasible else "out of bounds"
    return ["## Guardrails", "", f"{state} (-1 to 1, on the search's prompts): {said}.", ""]


def _picture(folder: StudyFolder, number: int) -> tuple[list[str], Image.Image | None]:
    """The prompts, and their images without FreeU above those with it; None where none were kept."""
    from PIL import Image

    table = folder.read_held_out(BASE)
    names = (BASE, f"{number:04d}")
    rows = range(min(SHOWN, 0 if table is None else len(table)))
    files = [[folder.held_out_image(name, row) for row in rows] for name in names]
    if table is None or not rows or not all(file.is_file() for line in files for file in line):
        return [], None
    images = []
    for line in files:
        for file in line:
            with open_image(file) as opened:
                image = opened.convert("RGB")
            image.thumbnail((SIDE, SIDE))
            images.append(image)
    width, height = (max(image.size[axis] for image in images) + GAP for axis in (0, 1))
    picture = Image.new("RGB", (width * len(rows) - GAP, 2 * height - GAP), "white")
    for place, image in enumerate(images):
        picture.paste(image, (place % len(rows) * width, place // len(rows) * height))
    return [str(prompt) for prompt in table["prompt"][: len(rows)]], picture


def _arguments(preset: Preset) -> str:
    values = preset.factors.as_dict()
    controls = values.pop("controls", {})
    said = [f"{name}={value!r}" for name, value in values.items()]
    if controls:
        said.append(
            "controls=freeu.Controls(" + ", ".join(f"{name}={value!r}" for name, value in controls.items()) + ")"
        )
    return ", ".join(said)


def _shown(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
