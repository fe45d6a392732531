"""`python -m search.vote`: a person's blind verdict on a finished study, in a page on this machine."""

from __future__ import annotations

import getpass
import json
import signal
import threading
import webbrowser
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from configs import UserError
from configs.cli import main, visible
from search.settings import flags
from search.storage.study_folder import StudyFolder
from search.terminal import local_server
from search.terminal.study_names import complete, find_study
from search.terminal.study_status import finished

PORT = 5050

app = typer.Typer(add_completion=False)


@app.command()
def vote(
    study: Annotated[str, typer.Option(metavar="NAME", help="The study's name.", autocompletion=complete)],
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
        int | None, typer.Option(min=1, max=65535, help=f"Port (default: {PORT}, or the next free one).")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; the page has no password.")] = "127.0.0.1",
    browser: Annotated[
        bool,
        typer.Option(
            "--browser/--no-browser", help="Open the page if there is a desktop (default: on).", show_default=False
        ),
    ] = True,
) -> None:
    """Vote blind on held-out pairs of a study: finalists against the baseline.

    Votes are kept at once; stop and go on as you like.
    """
    from search.voting import booth as booths

    folder = find_study(mlruns, study)
    result = finished(folder)
    if as_json:
        typer.echo(json.dumps(booths.told(folder, result), indent=2))
        return
    name = booths.checked_name(voter if voter is not None else _user())
    booth = booths.Booth(folder, result, win_rate)
    if end:
        if not booth.told()["votes"]:
            raise UserError(f"nobody has voted on study '{study}' yet")
        booth.end(name)
    elif not booth.told()["over"]:
        open_until_stopped(booth, name, host, port, browser)
    concluded(booth, mlruns)


def open_until_stopped(
    booth: Any, voter: str, host: str = "127.0.0.1", port: int | None = None, browser: bool = True
) -> None:
    """Serve the page until Ctrl-C, or until voting has ended. booth: a `search.voting.booth.Booth`."""
    from search.voting.server import serving
    from search.voting.wording import counted

    local_server.warn(host)
    port = local_server.free_port(host, port, PORT)
    page = f"{local_server.address(host, port)}?as={quote(voter)}"
    stopped, told = threading.Event(), booth.told()
    needed = ", ".join(f"{100 * rate:.0f} % {n}" for rate, n in booth.rates())
    total = booth.planned * len(booth.comparisons)
    before = signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    try:
        with serving(booth, host, port, local_server.names(host, port), stopped.set):
            each = f", for each of {len(booth.comparisons)} comparisons" if len(booth.comparisons) > 1 else ""
            typer.echo(f"votes that show a true win rate: {needed}{each}; {booth.planned} are planned")
            typer.echo(f"cast: {told['votes']} of {total}")
            if booth.fewest_prompts < booth.planned:
                few = counted(booth.fewest_prompts, "prompt")
                typer.echo(f"the images are of {few}: one voter alone can't cast all planned votes, several can")
            typer.echo(f"vote: {local_server.shown(page)}\nCtrl-C stops it; every vote is kept")
            if browser and local_server.desktop():
                webbrowser.open(page)
            try:
                stopped.wait()
            except KeyboardInterrupt:
                typer.echo("stopped")
            else:
                threading.Event().wait(1)  # for the page, which shows the result
    finally:
        signal.signal(signal.SIGTERM, before)


def concluded(booth: Any, mlruns: Path) -> None:
    """Print what the votes say, and log it once they are through."""
    from rich.console import Console

    from search.voting import wording

    told = booth.told()
    console = Console(highlight=False, width=None if typer.get_text_stream("stdout").isatty() else 110)
    wording.show(console, told)
    if not told["over"]:
        typer.echo("run the same command again to go on")
        return
    console.print(visible(wording.both(booth.result, told)), markup=False, style="bold", soft_wrap=True)
    _log(booth.folder, mlruns, booth.result, told)


def _log(folder: StudyFolder, mlruns: Path, result: dict[str, Any], told: dict[str, Any]) -> None:
    """In MLflow; where that can't be reached the votes are as good."""
    from configs import read_yaml
    from search.tracking.votes import log_votes

    uri = read_yaml(folder.config).get("tracking_uri")
    try:
        log_votes(mlruns, folder.name, uri, result, told)
    except UserError as error:
        typer.echo(f"warning: the votes are not in MLflow: {error}; `--end` logs them again", err=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "voter"


if __name__ == "__main__":
    main(app)
