"""Connections to PostgreSQL on which no answer is waited for without end.

Keepalives and `tcp_user_timeout` tell a machine that is gone. A proxy whose server is gone, or a server that is
suspended, goes on acknowledging what it gets, and libpq would wait for good. Here a silence of `ANSWER` seconds ends
the connection, as if it had been dropped, and whoever asked can ask again on another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg

ANSWER = 60.0
"""Seconds that a server may say nothing in the middle of a call; a long answer has no end as long as it comes."""
CONNECTION = {
    "connect_timeout": 10,
    "client_encoding": "utf8",  # a database in SQL_ASCII would give bytes
    # A connection that a router forgot, or whose other end is gone, is noticed within half a minute.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
}
"""How all connections are made."""


class BoundedConnection(psycopg.Connection[Any]):
    """As psycopg's."""

    def wait(self, gen: Generator[Any, Any, Any], *more: Any, **named: Any) -> Any:
        """As psycopg's. Raises psycopg.OperationalError after a silence, and closes the connection."""
        try:
            return super().wait(_bounded(gen, ANSWER), *more, **named)
        except NoAnswer:
            self.pgconn.finish()
            raise


class NoAnswer(psycopg.OperationalError):
    """The server said nothing for too long."""


def connecting(url: str) -> Callable[[], BoundedConnection]:
    """What makes connections to the server at an address of SQLAlchemy's, for its engines."""
    from sqlalchemy import make_url

    found = make_url(url)
    arguments, named = found.get_dialect()().create_connect_args(found)
    return lambda: BoundedConnection.connect(*arguments, **{**named, **CONNECTION})


def _bounded(gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """The same waits. psycopg sends what is ready, and 0 now and then while nothing is."""
    ready, heard = None, time.monotonic()
    while True:
        try:
            wanted = gen.send(ready)  # None begins it
        except StopIteration as end:
            return end.value
        ready = yield wanted
        if ready:
            heard = time.monotonic()
        elif time.monotonic() - heard > seconds:
            raise NoAnswer(f"no answer for {seconds:g} s")
