"""`python -m search.export`: writes factors of a study, or of a file, as a preset in a tool's format.

What a format can't hold (freeu.presets knows) is refused with the reason, never written silently wrong.
A preset carries held-out scores only: those of the search's own prompts flatter what it chose. So a trial that is not a
pick has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import configs
from configs import UserError
from configs.cli import main
from configs.console import tell
from configs.image_files import SUFFIXES
from freeu.factors import Factors
from freeu.presets import FORMATS
from freeu.sampling import Candidate, Sampling
from search.settings import completions, flags
from search.storage import StudyFolder
from search.terminal import Name, Study, chosen

if TYPE_CHECKING:
    from freeu.presets import Preset

app = typer.Typer(add_completion=False)


@app.command()
def export(
    name: Name = None,
    study: Study = None,
    from_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A preset of any tool, or an image with its settings, in place of a study."),
    ] = None,
    pick: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|N",
            help="knee, most-improved, best-clip, … or a trial's number (default: the verdict's, else knee); with a "
            "file, a preset's name.",
            autocompletion=completions.picks,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="One of: " + ", ".join(FORMATS) + " (default: yaml).",
            show_default=False,
            autocompletion=completions.among(FORMATS),
        ),
    ] = None,
    workflow: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="ComfyUI workflow, or an image of ComfyUI, to put FreeU into; the file itself is not changed.",
        ),
    ] = None,
    node: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Loader in the workflow to put FreeU behind; repeatable (default: all)."),
    ] = None,
    factors_only: Annotated[
        bool, typer.Option("--factors-only", help="Leave out the sampling settings that the factors were found at.")
    ] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Write every format that can hold the preset into the folder --out.")
    ] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Write a Markdown card for a model hub, and its picture.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write (default: print it); an existing one is kept as FILE.bak."),
    ] = None,
    mlruns: flags.Results = Path("mlruns"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: the preset, and the files that were written.")
    ] = False,
) -> None:
    """Export a pick of a study, or a preset that you have, in a tool's format."""
    from freeu import presets
    from search.reporting import preset_folder

    if from_file is not None and (name or study):
        raise UserError("give either --study NAME or --from-file FILE: where to take the factors from")
    if sum((all_, card, workflow is not None, format is not None)) > 1:
        raise UserError("--all, --card, --format and --workflow exclude each other: give one")
    if all_ and out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file, and --all writes a folder: name another")
    if workflow is not None and out is not None and out.suffix.lower() in SUFFIXES:
        raise UserError(f"--out {out}: a workflow is JSON: name a .json file")
    if (all_ or card) and out is None:
        raise UserError(f"--{'all' if all_ else 'card'} needs --out: {'a folder' if all_ else 'a .md file'} to write")
    if card and from_file is not None:
        raise UserError("--card needs --study: a preset file has no images and no history")
    if node and workflow is None:
        raise UserError(f"--node {node[0]} needs --workflow: the ComfyUI workflow that has this node")
    folder = None if from_file is not None else chosen(mlruns, name, study)
    if folder is not None:
        asked, pick = pick, pick or usual_pick(folder)
        preset = preset_of(folder, pick)
        if preset.verdict is not None:
            tell(preset.verdict, err=True)
        if asked is None and (folder.read_result() or {}).get("take_away", pick) is None:
            tell(f"note: the verdict's advice is to keep FreeU off; this is the {pick}, for want of a better", err=True)
        if not preset.scores:
            whose = f"trial {pick}" if pick.isdecimal() else pick
            tell(f"note: {whose} was not scored on held-out prompts, so the preset has no scores", err=True)
        if preset.factors.identity:
            tell(f"note: {pick} is the baseline: nothing the search tried was better there", err=True)
    else:
        preset = presets.read(from_file, pick)  # type: ignore[arg-type]
    if factors_only:
        preset = replace(preset, sampling=Sampling())
    if all_ and out is not None:
        files, backups = preset_folder.write(preset, out)
        written = [out / each for each in files]
        tell(f"wrote {', '.join(files)} and README.md to {out}", err=True)
    elif card and out is not None and folder is not None:
        from search.reporting import card as cards

        backups = cards.write(folder, preset, _number(folder, str(pick)), out)
        drawn = out.with_suffix(".png")
        written = [out, *([drawn] if drawn.exists() else [])]
        tell(f"wrote {out}" + (f" and {drawn.name} beside it" if drawn.exists() else ""), err=True)
    else:
        format = format or "yaml"
        text = presets.render(preset, format) if workflow is None else _patched(preset, workflow, node or [])
        if workflow is None:
            tell(f"where it goes: {presets.module(format).PLACE}", err=True)
        if out is None:
            typer.echo(_as_json(preset, [], [], text) if as_json else text.rstrip("\n"))
            return
        if workflow is None and (left := preset_folder.by_hand(preset, format)):
            tell(f"note: {left}", err=True)
        kept = presets.write(preset, out, format) if workflow is None else presets.save(out, text.encode())
        written, backups = [out], [] if kept is None else [kept]
        tell(f"wrote {out}", err=True)
    for backup in backups:
        tell(f"kept the old file as {backup}", err=True)
    if as_json:
        typer.echo(_as_json(preset, written, backups))


def _as_json(preset: Preset, written: Sequence[Path], backups: Sequence[Path], text: str | None = None) -> str:
    found: dict[str, Any] = {
        "study": preset.study,
        "pick": preset.pick,
        "model": preset.model,
        "factors": preset.factors.as_dict(),
        "scores": dict(preset.scores),
        "written": [str(file) for file in written],
        "backups": [str(file) for file in backups],
    }
    if text is not None:
        found["text"] = text
    return json.dumps(found, indent=2)


def _patched(preset: Preset, file: Path, loaders: list[str]) -> str:
    from freeu.presets import PresetError, embedded, workflow

    found, name = embedded.workflow(file, "workflow", "prompt"), configs.shortened(str(file))
    try:
        text, done = workflow.patch(preset, found, loaders, name)
    except PresetError as error:
        raise PresetError(f"{name}: {error}") from error
    for line in done:
        tell(line, err=True)
    return text


def _number(folder: StudyFolder, pick: str) -> int:
    picks = {one["pick"]: int(one["number"]) for one in (folder.read_result() or {}).get("picks", [])}
    return picks[pick] if pick in picks else int(pick)


def usual_pick(folder: StudyFolder) -> str:
    """The pick that the verdict advises to take; the knee where it advises none, or what one objective has."""
    result = folder.read_result() or {}
    names = [one["pick"] for one in result.get("picks", [])]
    return str(result.get("take_away") or ("knee" if "knee" in names or not names else names[0]))


def preset_of(folder: StudyFolder, pick: str) -> Preset:
    """The preset of a pick by its name, or of any complete trial by its number. Raises UserError."""
    from freeu.presets import Preset

    result = folder.read_result()
    picks: dict[str, Mapping[str, Any]] = {one["pick"]: one for one in (result or {}).get("picks", [])}
    scores: Mapping[str, Any] = {}
    sampling = Sampling()
    if pick in picks:
        factors, scores = Factors.from_dict(picks[pick]["factors"]), picks[pick]["scores"]
        sampling = _sampling(picks[pick])
    elif pick.isdecimal() and len(pick) <= 9:
        candidate = _trial(folder, int(pick))
        same = next((one for one in picks.values() if one["number"] == int(pick)), {})
        factors, sampling = candidate.factors, candidate.sampling.over(_sampling(same or result or {}))
        scores = same.get("scores", {})
    elif result is None:
        raise UserError(f"study '{folder.name}' has no picks yet: let it finish, or give --pick the number of a trial")
    else:
        raise UserError(f"{configs.unknown('pick', pick, picks)}; or give the number of a trial")
    model, identity = _model(folder, result)
    return Preset(
        factors=factors,
        model=model,
        model_identity=identity,
        study=folder.name,
        pick=pick,
        scores={metric: _score(score) for metric, score in scores.items()},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sampling=sampling,
        verdict=None if result is None else _verdict(result, picks[pick]["number"] if pick in picks else int(pick)),
    )


def _verdict(result: Mapping[str, Any], number: int) -> str:
    """The study's verdict, as it concerns a trial."""
    from search.voting.wording import both

    stands = {one["number"] for one in result["picks"] if one["pick"] == result.get("take_away")}
    other = f" These factors are of trial {number}, which is another one." if stands - {number} else ""
    return f"{both(result, result.get('votes'))}{other}"


def _sampling(row: Mapping[str, Any]) -> Sampling:
    """Of a pick or a study; none are set in the result of an older one."""
    return Sampling.from_dict(row.get("sampling") or {})


def _trial(folder: StudyFolder, number: int) -> Candidate:
    record = folder.read_trial(number)
    if record is None:
        last = max((one.number for one in folder.read_trials()), default=0)
        raise UserError(f"there is no trial {number} in study '{folder.name}', whose last is {last}")
    if not record.complete:
        raise UserError(f"trial {number} failed ({record.reason}): choose another with --pick")
    return record.candidate


def _model(folder: StudyFolder, result: Mapping[str, Any] | None) -> tuple[str, str]:
    """The base model's name and identity; the identity is known once the study has finished."""
    if result is not None:
        return str(result["model"]), str(result.get("model_identity", ""))
    return str(folder.read_settings().get("model", "")), ""


def _score(score: Mapping[str, Any]) -> dict[str, Any]:
    from freeu.presets import SCORE_KEYS

    return {key: score[key] for key in SCORE_KEYS if score.get(key) is not None}


if __name__ == "__main__":
    main(app)
