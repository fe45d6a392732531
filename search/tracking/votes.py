"""What a study's votes say, on its run in MLflow: metrics, the verdict, a file. Logging them again replaces them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import UserError
from configs.console import command_console, say, tell
from search.storage.mlflow_location import check_folder
from search.study.held_out import BASE
from search.tracking.errors import told as told_error
from search.tracking.runs import NOTE, Runs
from search.voting import wording
from search.voting.booth import Booth
from search.voting.wording import both, people

VOTES = "freeu.votes"


def log_votes(mlruns: Path, study: str, uri: str | None, result: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """result: the study's; told: what `search.voting.tally` found. Raises UserError where MLflow can't be reached, or
    doesn't have the study."""
    settings = check_folder(mlruns, uri)
    runs = Runs(settings)
    lacking = f"{settings.place} has no run of study '{study}': the command that began it logs it again"
    if settings.own and not settings.database.exists():
        raise UserError(lacking)
    with told_error("log the votes", settings):
        runs.open()
        run = runs.of_study(study)
        if run is None:
            raise UserError(lacking)
        verdict = both(result, told)
        tags = {VOTES: people(told), "freeu.verdict": verdict, NOTE: verdict}
        runs.write(run.info.run_id, metrics=vote_metrics(told), tags=tags)
        runs.client.log_text(run.info.run_id, json.dumps(dict(told), indent=2), "votes.json")
        runs.client.log_text(run.info.run_id, json.dumps(dict(result), indent=1), "result.json")


def conclude(booth: Booth, mlruns: Path) -> None:
    """Print what the votes say, and log it once they are through; where MLflow can't be reached they are as good."""
    told = booth.told()
    console = command_console()
    wording.show(console, told)
    if not told["over"]:
        tell("run the same command again to go on")
        return
    say(console, wording.both(booth.result, told), style="bold")
    uri = booth.folder.read_settings().get("tracking_uri")
    try:
        log_votes(mlruns, booth.folder.name, uri, booth.folder.read_result() or booth.result, told)
    except UserError as error:
        tell(f"warning: the votes are not in MLflow: {error}; `--end` logs them again", err=True)


def vote_metrics(told: Mapping[str, Any]) -> dict[str, float]:
    """As `votes/trial 7 against baseline.win_rate`, `.low`, `.high`, `votes/voters_agree`, `votes/clip_agrees`."""
    found: dict[str, float] = {"votes/votes": told["votes"], "votes/voters": len(told["voters"])}
    for row in told["comparisons"]:
        if "share" in row:
            other = row["against"] if row["against"] == BASE else f"trial {int(row['against'])}"
            name = f"votes/trial {row['finalist']} against {other}"
            found |= {f"{name}.win_rate": row["share"], f"{name}.p": row["p_holm"]}
            found |= {f"{name}.{end}": row[end] for end in ("low", "high") if row[end] is not None}
    for name, key in (("voters_agree", "between"), ("same_again", "self")):
        if told.get(key):
            found[f"votes/{name}"] = told[key]["share"]
    return found | {f"votes/{name}_agrees": each["share"] for name, each in told.get("metrics", {}).items()}
