"""`python -m search.delete NAME`: a study taken away, with its runs in MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from configs import UserError
from configs.cli import main
from configs.console import tell
from search.settings import flags
from search.storage import housekeeping
from search.terminal import Name, Study, chosen
from search.terminal.study_status import running

app = typer.Typer(add_completion=False)


@app.command()
def delete(
    name: Name = None,
    study: Study = None,
    mlruns: flags.Results = Path("mlruns"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; needs --yes.")] = False,
) -> None:
    """Delete a study: its folder, and its runs in MLflow."""
    folder = chosen(mlruns, name, study)
    housekeeping.check_own(folder)
    if running(folder):
        raise UserError(f"study '{folder.name}' is running: stop it first")
    if not yes and (as_json or not _confirmed(f"delete {folder.root} and its runs in MLflow?")):
        raise UserError(f"study '{folder.name}' was not deleted: --yes deletes it without a question")
    from search.tracking import housekeeping as tracked

    runs = tracked.delete(flags.tracked_at(folder, mlruns), folder.name)
    housekeeping.delete(folder)
    if as_json:
        typer.echo(json.dumps({"study": folder.name, "folder": str(folder.root), "mlflow_runs": runs}, indent=2))
    else:
        tell(f"deleted {folder.root} and {runs} runs in MLflow")


def _confirmed(question: str) -> bool:
    """False, too, where nobody is there to answer."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        return False


if __name__ == "__main__":
    main(app)
