"""Opens the vote page for a person, and waits until they are through."""

from __future__ import annotations

import getpass
import signal
import threading
import webbrowser
from urllib.parse import quote

import typer

from search.terminal import local_server
from search.voting.booth import Booth
from search.voting.server import serving
from search.voting.wording import counted

PORT = 5050


def open_until_stopped(
    booth: Booth, voter: str, host: str = "127.0.0.1", port: int | None = None, browser: bool = True
) -> None:
    """Serve the page until Ctrl-C, or until voting has ended."""
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


def person() -> str:
    """The name of whoever sits here."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "voter"
