"""Serves the vote page on this machine: the standard library's server, a handful of addresses, no request elsewhere.

A page of another site can't vote: its Host or Origin is none of this machine's names, and votes are JSON, which a
foreign form can't send.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from configs import UserError
from search.voting.booth import Booth, checked_name

PAGES = {
    "/": ("vote.html", "text/html"),
    "/vote.css": ("vote.css", "text/css"),
    "/vote.js": ("vote.js", "text/javascript"),
}
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'"
)
MOST = 10_000  # bytes of a request
TIMEOUT = 60  # seconds for a request to come


@contextmanager
def serving(
    booth: Booth, host: str, port: int, names: list[str], ended: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Serve for the length of the block. names: what browsers may call this machine. ended: called once votes have.

    Raises UserError where the port can't be had.
    """

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A browser that went away in the middle of an answer."""

    class Handler(_Handler):
        pass

    Handler.booth, Handler.names, Handler.ended = booth, frozenset(names), staticmethod(ended)
    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise UserError(f"can't serve on {host}, port {port}: {error.strerror}; name another with --port") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT
    booth: Booth
    names: frozenset[str]
    ended: Callable[[], None]

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def _answered(self, answer: Callable[[], None]) -> None:
        if self.headers.get("Host", "").lower() not in self.names:
            self._json({"error": "this address is not one of this machine's names"}, HTTPStatus.FORBIDDEN)
            return
        try:
            answer()
        except UserError as error:
            self._json({"error": str(error)}, HTTPStatus.CONFLICT)
        except OSError as error:
            self._json({"error": str(error)}, HTTPStatus.INTERNAL_SERVER_ERROR)

    def _get(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path in PAGES:
            name, kind = PAGES[url.path]
            self._send(files("search.voting").joinpath("templates", name).read_bytes(), f"{kind}; charset=utf-8")
        elif url.path == "/state":
            self._json(self.booth.state(checked_name(asked.get("as", "")), "more" in asked))
        elif len(parts := url.path.split("/")) == 4 and parts[1] == "image" and parts[3] in ("left", "right"):
            file = self.booth.image(checked_name(asked.get("as", "")), unquote(parts[2]), parts[3])
            self._send(file.read_bytes(), "image/webp", "private, max-age=600")
        else:
            self._json({"error": "there is nothing here"}, HTTPStatus.NOT_FOUND)

    def _post(self) -> None:
        told = self._body()
        voter, more = checked_name(str(told.get("as", ""))), bool(told.get("more"))
        if self.path == "/vote":
            seconds = told.get("seconds")
            seconds = float(seconds) if isinstance(seconds, int | float) else 0.0
            shown = bool(told.get("prompt_shown", True))
            self.booth.vote(voter, str(told.get("card")), str(told.get("choice")), seconds, shown)
            self._json(self.booth.state(voter, more))
        elif self.path == "/undo":
            token = told.get("card")
            card = self.booth.undo(voter, None if token is None else str(token))
            self._json(self.booth.state(voter, more, card))
        elif self.path == "/end":
            self.booth.end(voter)
            self._json(self.booth.state(voter))
            self.ended()
        else:
            self._json({"error": "there is nothing here"}, HTTPStatus.NOT_FOUND)

    def _body(self) -> dict[str, Any]:
        """Raises UserError for what is not from our page."""
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() not in self.names:
            raise UserError("votes come from this page alone")
        if self.headers.get_content_type() != "application/json":
            raise UserError("votes are JSON")
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 <= length <= MOST:
                raise ValueError(length)
            told = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError):
            self.close_connection = True
            raise UserError("this is no vote") from None
        if not isinstance(told, dict):
            raise UserError("this is no vote")
        return told

    def _json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(content).encode(), "application/json", status=status)

    def _send(self, body: bytes, kind: str, cached: str = "no-store", status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", cached),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for the person."""
