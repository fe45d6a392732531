"""A real MLflow server on SQLite, that tests start, kill and start again.

Run as a script it loads MLflow's application once, and for each line that it reads begins a server in a process of its
own: so a server is back in a second, where `mlflow server` takes twenty.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

LIGHT = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


class Server:
    """In a folder of its own, at one port; `start` returns once it answers."""

    def __init__(self, folder: Path, app: str | None = None, **environment: str) -> None:
        """app: as `mlflow server --app-name` has it; with one it is that very command."""
        self.folder, self.app = folder, app
        own = {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/server.db",
            "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{folder}/server.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        }
        self.environment = LIGHT | environment | (own if app is None else {})
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._loaded: subprocess.Popen[bytes] | None = None
        self._group: int | None = None

    def start(self, seconds: float = 600) -> None:
        self.folder.mkdir(exist_ok=True)
        if not (self.folder / "server.db").exists():
            from search.tracking import database  # not where this runs as a script

            database.migrate(self.folder / "server.db")
        if self.app is not None:
            command = ["-m", "mlflow", "server", "--workers", "1", "--port", str(self.port), "--app-name", self.app]
            command += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
            self._group = self._process([*command, "--artifacts-destination", str(self.folder / "artifacts")]).pid
        else:
            if self._loaded is None:
                self._loaded = self._process([__file__, str(self.port)])
            assert self._loaded.stdin is not None and self._loaded.stdout is not None
            self._loaded.stdin.write(b"\n")
            self._loaded.stdin.flush()
            self._group = int(self._loaded.stdout.readline())
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except urllib.error.HTTPError:  # it asks for a password
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "log.txt").read_text())

    def _process(self, arguments: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=os.environ | self.environment,
                stdin=subprocess.PIPE,
                stdout=log if self.app is not None else subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """At once, with its workers, in the middle of whatever they do."""
        if self._group is not None:
            os.killpg(self._group, signal.SIGKILL)
            self._group = None

    def end(self) -> None:
        self.kill()
        if self._loaded is not None:
            self._loaded.kill()
            self._loaded.wait()


if __name__ == "__main__":  # PORT
    import uvicorn
    from mlflow.server.fastapi_app import app
    from sqlalchemy import Engine, event

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the killed
    event.listen(Engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")

        os.setpgid(child, child)
        print(child, flush=True)
