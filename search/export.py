"""`python -m search.export`: takes a study's factors away as a preset, in the format of a tool.

What a format can't honour (freeu.presets knows) is refused with the reason, never written silently wrong.
A preset carries held-out scores only: those of the search's own prompts flatter what it chose, so a trial
that is no pick goes without.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import configs
from configs import UserError
from configs.cli import main
from freeu.factors import Factors
from search.named import complete, find_study
from search.records import StudyFolder

if TYPE_CHECKING:
    from freeu.presets import Preset

app = typer.Typer(add_completion=False)


@app.command()
def export(
    study: Annotated[str, typer.Option(metavar="NAME", help="The study's name.", autocompletion=complete)],
    pick: Annotated[
        str,
        typer.Option(metavar="NAME|N", help="knee, most-improved, best-clip, …, or a trial's number."),
    ] = "knee",
    format: Annotated[str, typer.Option(metavar="NAME", help="yaml (ours), diffusers or comfyui.")] = "yaml",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; without it the preset is printed.")
    ] = None,
    mlruns: Annotated[Path, typer.Option(metavar="DIR", help="The results folder.")] = Path("mlruns"),
) -> None:
    """Write a pick of a study as a preset for a tool."""
    from freeu import presets

    preset = preset_of(find_study(mlruns, study), pick)
    if not preset.scores:
        typer.echo(f"note: trial {pick} was not scored on held-out prompts; the preset has no scores", err=True)
    if out is None:
        typer.echo(presets.render(preset, format).rstrip("\n"))
    else:
        presets.write(preset, out, format)
        typer.echo(f"wrote {out}", err=True)


def preset_of(folder: StudyFolder, pick: str) -> Preset:
    """The preset of a pick by its name, or of any complete trial by its number. Raises UserError."""
    from freeu.presets import Preset

    result = folder.read_result()
    picks: dict[str, Mapping[str, Any]] = {one["pick"]: one for one in (result or {}).get("picks", [])}
    scores: Mapping[str, Any] = {}
    if pick in picks:
        factors, scores = Factors.from_dict(picks[pick]["factors"]), picks[pick]["scores"]
    elif pick.isdecimal():
        factors = _trial(folder, int(pick))
        scores = next((one["scores"] for one in picks.values() if one["number"] == int(pick)), {})
    elif result is None:
        raise UserError(f"study '{folder.name}' has no picks yet: let it finish, or give --pick the number of a trial")
    else:
        raise configs.unknown("pick", pick, [*picks, *(str(record.number) for record in folder.read_trials())])
    model, identity = _model(folder, result)
    return Preset(
        factors=factors,
        model=model,
        model_identity=identity,
        study=folder.name,
        pick=pick,
        scores={metric: _score(score) for metric, score in scores.items()},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _trial(folder: StudyFolder, number: int) -> Factors:
    record = folder.read_trial(number)
    if record is None:
        complete = [str(one.number) for one in folder.read_trials() if one.complete]
        raise configs.unknown("trial", str(number), complete)
    if not record.complete:
        raise UserError(f"trial {number} failed ({record.reason}): choose another with --pick")
    return record.factors


def _model(folder: StudyFolder, result: Mapping[str, Any] | None) -> tuple[str, str]:
    """The base model's name and identity; the identity is known once the study has finished."""
    if result is not None:
        return str(result["model"]), str(result.get("model_identity", ""))
    return str(configs.read_yaml(folder.config).get("model", "")), ""


def _score(score: Mapping[str, Any]) -> dict[str, Any]:
    from freeu.presets import SCORE_KEYS

    return {key: score[key] for key in SCORE_KEYS if score.get(key) is not None}


if __name__ == "__main__":
    main(app)
