"""HTTP to one server that the user named, and to no other: no proxies, no redirects; waits and bodies are bounded."""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from configs import UserError, parse_json, shortened

SECONDS = 30.0
"""For one request; what takes longer is told to the caller as unreachable."""
LARGEST = 256 * 2**20
"""Bytes of an answer."""


class Unreachable(Exception):
    """Nobody answers, or the answer broke off: it may be there again later."""


class Refused(Exception):
    """The server answered with an error. status: HTTP's. text: what it said."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {shortened(' '.join(text.split()), 300) or 'no reason given'}")
        self.status, self.text = status, text

    @property
    def passing(self) -> bool:
        """Whether the same request may be taken later: the server, or what stands before it, has a fault."""
        return self.status >= 500 or self.status == 429


@dataclass(frozen=True)
class Address:
    """Where a server is. password: of basic auth, "user:password", never shown."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    password: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


def address(text: str, port: int) -> Address:
    """The address in `http://user:password@host:port/prefix`. port: where none is given, and none is usual.

    Raises:
        UserError: it is no such address.
    """
    full = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(full)
        found = parts.port or (443 if parts.scheme == "https" else port)
    except ValueError:
        parts, found = None, 0
    plain = re.sub(r"//[^@]*@", "//", text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UserError(f"--server {shortened(plain)}: expected an address as http://127.0.0.1:{port}")
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username else None
    return Address(parts.scheme, parts.hostname, found, parts.path.rstrip("/"), user)


class Client:
    """Requests to one address; safe to use from several threads."""

    def __init__(self, place: Address) -> None:
        self.address = place

    def json(
        self,
        method: str,
        path: str,
        body: Any = None,
        seconds: float = SECONDS,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """What the answer holds; None where it is empty.

        Raises:
            Unreachable, Refused, UserError: as `raw`; an answer that is no JSON is Refused.
        """
        data = self.raw(method, path, body, seconds, query)
        if not data:
            return None
        try:
            return parse_json(data.decode("utf-8"), "the answer", nan=True, halves=True)
        except (UnicodeDecodeError, UserError) as error:
            raise Refused(200, f"no JSON but {data[:60]!r}") from error

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        seconds: float = SECONDS,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        """The answer's body.

        Raises:
            Unreachable: nobody answers within `seconds`, or the answer breaks off.
            Refused: an error of HTTP.
            UserError: a redirect, a password that is wanted, an answer larger than LARGEST.
        """
        place = self.address
        headers = {"Accept": "*/*", "Connection": "close"}
        if place.password is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(place.password.encode()).decode()
        sent = None
        if body is not None:
            sent, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        target = f"{place.prefix}{path}" + (f"?{urlencode(query)}" if query else "")
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = kind(place.host, place.port, timeout=seconds)
        try:
            connection.request(method, target, sent, headers)
            answer = connection.getresponse()
            found = self._read(answer, time.monotonic() + seconds)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unreachable(reason) from error
        finally:
            connection.close()
        self._check(answer, found)
        return found

    def _read(self, answer: http.client.HTTPResponse, until: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := answer.read1(1 << 20):
            parts.append(part)
            size += len(part)
            if size > LARGEST:
                raise UserError(f"{self.address} answers with more than {LARGEST >> 20} MiB: is it the right server?")
            if time.monotonic() > until:
                raise Unreachable("its answer does not end")
        if answer.length:
            raise Unreachable(f"its answer breaks off {answer.length} bytes before its end")
        return b"".join(parts)

    def _check(self, answer: http.client.HTTPResponse, found: bytes) -> None:
        if 300 <= answer.status < 400:
            to = shortened(answer.headers.get("Location") or "elsewhere", 100)
            raise UserError(f"--server {self.address} redirects to {to}, where nothing is sent: name the server itself")
        if answer.status == 401:
            raise UserError(
                f"--server {self.address} wants a password or refuses the one given: --server http://USER:PASSWORD@HOST"
            )
        if answer.status >= 400:
            raise Refused(answer.status, found[:20_000].decode("utf-8", "replace"))
