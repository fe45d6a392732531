"""`python -m search.vote`: a person's blind verdict on a finished study, in a page on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from configs import UserError
from configs.cli import main
from search.settings import flags
from search.terminal import Name, Study, chosen
from search.terminal.study_status import finished

app = typer.Typer(add_completion=False)


@app.command()
def vote(
    name: Name = None,
    study: Study = None,
    voter: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="The voter's name (default: yours on this machine).", show_default=False
        ),
    ] = None,
    win_rate: Annotated[
        float | None,
        typer.Option(
            min=0.52,
            max=0.99,
            metavar="X",
            help="Plan votes that show this win rate (default: 0.65).",
            show_default=False,
        ),
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="End voting: print the result, and log it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the votes say as JSON, and exit.")] = False,
    mlruns: flags.Results = Path("mlruns"),
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help="Port (default: 5050, or the next free one).")
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; the page has no password (default: 127.0.0.1).",
            show_default=False,
        ),
    ] = "127.0.0.1",
    browser: Annotated[
        bool,
        typer.Option(
            "--browser/--no-browser", help="Open the page if there is a desktop (default: on).", show_default=False
        ),
    ] = True,
) -> None:
    """Vote blind on held-out pairs of a study: finalists against the baseline and their rivals.

    Votes are kept at once; stop and go on as you like.
    """
    from search.tracking.votes import conclude
    from search.voting import booth as booths
    from search.voting.asking import open_until_stopped, person

    folder = chosen(mlruns, name, study)
    result = finished(folder)
    if as_json:
        typer.echo(json.dumps(booths.told(folder, result), indent=2))
        return
    who = booths.checked_name(voter if voter is not None else person())
    booth = booths.Booth(folder, result, win_rate)
    if end:
        if not booth.told()["votes"]:
            raise UserError(f"nobody has voted on study '{folder.name}' yet")
        booth.end(who)
    elif not booth.told()["over"]:
        open_until_stopped(booth, who, host, port, browser)
    conclude(booth, mlruns)


if __name__ == "__main__":
    main(app)
