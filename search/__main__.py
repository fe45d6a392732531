"""`freeu-search` and `python -m search`: every command under one name, for which the shell completes studies' names.

`freeu-search --install-completion` sets that up. A shell completes what stands behind a command's name, so the form
`python -m search.run` can't have it.
"""

from __future__ import annotations

import typer

from configs.cli import main
from configs.help import one_style
from metrics import score
from search import compare, delete, doctor, export, figures, grid, models, rename, report, show, studies, ui, vote
from search.run import run

app = typer.Typer(no_args_is_help=True, help="Search FreeU's factors for a model, and test whether they help.")
for _command in (
    run,
    studies.studies,
    show.show,
    compare.compare,
    report.report,
    ui.ui,
    vote.vote,
    export.export,
    figures.figures,
    grid.grid,
    models.models,
    rename.rename,
    delete.delete,
    doctor.doctor,
    score.score,
):
    app.command()(_command)
one_style(app)


def command() -> None:
    """What the console script calls."""
    main(app)


if __name__ == "__main__":
    command()
