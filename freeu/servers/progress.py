"""How far ComfyUI is with an image: what it says over its websocket after each step.

A client that only listens, of RFC 6455: frames from the server, and a pong where it pings. What it hears is shown to
the user and decides nothing, so that a websocket which drops, or a proxy which lets none through, costs that alone.
Source of the messages: server.py of github.com/comfyanonymous/ComfyUI.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from .http import Address

SECONDS = 5.0
"""To connect, and between two tries."""
LARGEST = 64 * 2**20
"""Bytes of a message; previews come as messages too."""
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Progress:
    """Listens from `open` to `close`."""

    def __init__(self, place: Address, client: str) -> None:
        """client: the id under which workflows are sent, whose progress the server tells."""
        self._place, self._client = place, client
        self._done: dict[str, float] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None

    def of(self, key: str) -> float | None:
        """The share of a workflow's latest pass that is done; None where nothing was said."""
        return self._done.get(key)

    def open(self) -> None:
        """Begins to listen, where it doesn't yet."""
        with self._lock:
            if self._thread is None:
                self._over = threading.Event()
                self._thread = threading.Thread(target=self._listen, args=(self._over,), daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Ends it."""
        with self._lock:
            self._over.set()
            self._thread = None
            self._done.clear()
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _listen(self, over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, ValueError, struct.error), self._connected() as connection:
                self._socket = connection
                if not over.is_set():
                    hear(connection, self._heard)
            self._socket = None
            over.wait(SECONDS)

    def _heard(self, message: Any) -> None:
        """A message "progress": step `value` of `max` of the workflow `prompt_id`."""
        data = message.get("data") if isinstance(message, dict) and message.get("type") == "progress" else None
        if isinstance(data, dict):
            value, most, key = data.get("value"), data.get("max"), data.get("prompt_id")
            if isinstance(value, int | float) and isinstance(most, int | float) and most > 0 and isinstance(key, str):
                self._done[key] = min(1.0, max(0.0, value / most))

    def _connected(self) -> socket.socket:
        """A connection after the handshake. Raises OSError and ValueError."""
        place = self._place
        connection = socket.create_connection((place.host, place.port), timeout=SECONDS)
        try:
            if place.scheme == "https":
                connection = ssl.create_default_context().wrap_socket(connection, server_hostname=place.host)
            lines = [
                f"GET {place.prefix}/ws?{urlencode({'clientId': self._client})} HTTP/1.1",
                f"Host: {place.host}:{place.port}",
                *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            ]
            if place.password is not None:
                lines.append(f"Authorization: Basic {base64.b64encode(place.password.encode()).decode()}")
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                if len(answer) > 16_384 or not (byte := connection.recv(1)):
                    raise ValueError("no answer to the handshake")
                answer += byte
            if b" 101 " not in answer.split(b"\r\n")[0] + b" ":
                raise ValueError("no websocket there")
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
        return connection


def hear(connection: socket.socket, heard: Callable[[Any], None]) -> None:
    """Reads messages until the server closes; `heard` gets those that are JSON. Raises OSError and ValueError."""
    while True:
        first, second = _read(connection, 2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", _read(connection, 2))
        elif size == 127:
            (size,) = struct.unpack(">Q", _read(connection, 8))
        if size > LARGEST:
            raise ValueError("a message too large")
        data, kind = _read(connection, size), first & 0x0F
        if kind == CLOSE:
            return
        if kind == PING:
            connection.sendall(bytes([0x80 | PONG, 0x80 | len(data)]) + bytes(4) + data)  # a mask of zeros
        elif kind == TEXT and first & 0x80:  # those in several frames are not for us
            with contextlib.suppress(ValueError, RecursionError):
                heard(json.loads(data))


def _read(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise ValueError("the connection ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
