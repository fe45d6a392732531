"""`python -m search.ui`: MLflow's own pages on the results, light and on this machine only.

The server runs as a child in a process group of its own, so that Ctrl-C reaches it once, through us, and its
workers end with it. Its output is kept aside and shown only when it fails to come up.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Annotated

import typer

from configs import UserError
from configs.cli import main, typed
from configs.console import tell
from search.settings import flags
from search.storage import studies
from search.storage.mlflow_location import Settings, check_folder, page_path, settle
from search.terminal import Study, chosen, complete, local_server

PORT = 5000  # MLflow's own default
START_LIMIT, SILENT = 600.0, 10.0  # seconds; 10 is usual on two idle cores, a busy machine takes minutes

app = typer.Typer(add_completion=False)


@app.command()
def ui(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Study whose trials to open (default: the only one, or the list of all).",
            autocompletion=complete,
        ),
    ] = None,
    study: Study = None,
    mlruns: flags.Results = Path("mlruns"),
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help=f"Port (default: {PORT}, or the next free one).")
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; the pages have no password (default: 127.0.0.1).",
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
    """Open MLflow's UI on the results; Ctrl-C stops it."""
    settings = check_folder(mlruns)
    if not settings.database.exists() and studies(mlruns):
        raise UserError(
            f"the studies in {settings.folder} log to another MLflow: each study's config.yaml has its tracking_uri"
        )
    if not settings.database.exists():
        raise UserError(
            f"{settings.folder} holds no study: run `{typed('run')}` first, or give another folder with --mlruns"
        )
    if name is not None or study is not None:
        study = chosen(mlruns, name, study).name
    path = page_path(settings, study).removeprefix("/")
    settle(settings)
    local_server.warn(host)
    with serving(settings, host, local_server.free_port(host, port, PORT)) as (address, server):
        typer.echo(f"MLflow UI: {local_server.shown(address)}{path}\nCtrl-C stops it")
        if browser and local_server.desktop():
            webbrowser.open(f"{address}{path}")
        try:
            server.wait()
        except KeyboardInterrupt:
            typer.echo("stopped")
            return
        raise UserError(f"the MLflow server ended by itself (exit code {server.returncode})")


@contextmanager
def serving(settings: Settings, host: str, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the server for the length of the block; give its address ("http://…/") and process once it answers.

    Ctrl-C and SIGTERM end it as leaving the block does. Raises UserError where it doesn't come up.
    """
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--workers",
        "1",
        "--host",
        host,
        "--port",
        str(port),
    ]
    command += ["--backend-store-uri", settings.uri, "--default-artifact-root", settings.artifacts.as_uri()]
    command += ["--allowed-hosts", ",".join(local_server.names(host, port))]
    address = local_server.address(host, port)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryFile() as log:
            server = subprocess.Popen(
                command,
                env=os.environ | dict(settings.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                _wait_until_up(address, server, log)
                yield address, server
            finally:
                _end(server)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait_until_up(address: str, server: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    began, told = time.monotonic(), False
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would be asked for 127.0.0.1
    health = address.replace("//0.0.0.0:", "//127.0.0.1:") + "health"
    while time.monotonic() < began + START_LIMIT and server.poll() is None:
        if not told and time.monotonic() > began + SILENT:
            told = True
            tell("MLflow's server is starting …", err=True)
        try:
            with direct.open(health, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    log.seek(0)
    tail = "\n".join(log.read().decode(errors="replace").splitlines()[-15:])
    raise UserError(f"the MLflow server did not come up at {address}; its last lines:\n{tail}")


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers: kindly, then, for what is left after five seconds, not."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=5)
        time.sleep(0.2)  # for the workers, which end after their parent
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


if __name__ == "__main__":
    main(app)
