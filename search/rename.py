"""`python -m search.rename OLD NEW`: a study under another name, in its folder and in MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from configs import UserError
from configs.cli import main
from configs.console import tell
from search.settings import flags
from search.storage import StudyFolder, housekeeping
from search.storage.study_folder import check_name
from search.terminal import Study, chosen, complete
from search.terminal.study_status import running

app = typer.Typer(add_completion=False)


@app.command()
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The study's name.", autocompletion=complete)],
    new: Annotated[
        str | None, typer.Argument(metavar="NEW", help="Its new name, which comes alone with --study OLD.")
    ] = None,
    study: Study = None,
    mlruns: flags.Results = Path("mlruns"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Give a study another name, in its folder and in MLflow. From then on resume it with --study NEW."""
    if new is None and study is None:
        raise UserError(f"'{old}' alone is no rename: give OLD and NEW")
    name, new = (old, new) if new is not None else (None, old)
    folder, other = chosen(mlruns, name, study), StudyFolder(mlruns, new)
    old = folder.name
    check_name(new)
    if new == old:
        raise UserError(f"study '{old}' has that name already: give another")
    from search.tracking import housekeeping as tracked

    housekeeping.check_free(folder, other)
    if running(folder):
        raise UserError(f"study '{old}' is running: stop it first")
    runs = tracked.rename(flags.tracked_at(folder, mlruns), old, new)
    housekeeping.rename(folder, other)
    if as_json:
        typer.echo(json.dumps({"study": new, "folder": str(other.root), "mlflow_runs": runs}, indent=2))
    else:
        tell(f"study '{old}' is '{new}' now, in {other.root} and in {runs} runs of MLflow")


if __name__ == "__main__":
    main(app)
