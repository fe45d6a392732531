"""Leases on a study's server: whoever holds one works alone, as long as its process says that it lives.

A lock of PostgreSQL's own lives as long as its connection. That is too long where a machine is suspended or its network
drops the connection without a word (all others wait, some for good), and too short where a server ends idle connections
(two hold it). A lease is a row with an end by the server's clock: it needs no connection, it is renewed while its
process lives, and others take it once it is over. Who lost one learns it by `check`.

As in Gray and Cheriton, "Leases", SOSP 1989.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from configs import UserError
from search.storage.waiting import Waiting

if TYPE_CHECKING:
    from sqlalchemy import Engine

QUIET = 5.0  # seconds that a person is told nothing of a wait
SHORTEST, LONGEST = 0.02, 1.0  # pauses between two tries, in seconds

MAKE = """CREATE TABLE IF NOT EXISTS freeu_leases
    (name text PRIMARY KEY, holder text NOT NULL, who text NOT NULL, until timestamptz NOT NULL)"""
ENDS = "clock_timestamp() + make_interval(secs => :seconds)"
TAKE = f"""INSERT INTO freeu_leases AS held (name, holder, who, until) VALUES (:name, :holder, :who, {ENDS})
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, who = excluded.who, until = excluded.until
    WHERE held.until < clock_timestamp() OR held.holder = excluded.holder RETURNING name"""
LOOK = "SELECT who FROM freeu_leases WHERE name = :name"
RENEW = f"UPDATE freeu_leases SET until = {ENDS} WHERE name = :name AND holder = :holder RETURNING name"
RELEASE = "DELETE FROM freeu_leases WHERE name = :name AND holder = :holder RETURNING name"


Meanwhile = Callable[[], bool]
"""Something useful to do in place of waiting; False where there is nothing."""


class LeaseLost(RuntimeError):
    """This process was silent for so long that another one took its place."""


class Busy(UserError):
    """Another process holds the lease, for longer than was to be waited."""


@dataclass
class Lease:
    """One that this process took. sure: until when nobody else can have it, by `now`."""

    name: str
    holder: str
    sure: float


def now() -> float:
    """Seconds by a clock that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


class Leases:
    """Those of one process. Let `renew` be called several times in `seconds`."""

    def __init__(self, engine: Engine, seconds: float, waiting: Waiting, say: Callable[[str], None]) -> None:
        """seconds: that a lease outlives the last sign of its holder. waiting: where the server is away."""
        self._engine, self._seconds, self._waiting, self._say = engine, seconds, waiting, say
        self._who = f"{socket.gethostname()} (process {os.getpid()})"
        self._held: dict[str, Lease] = {}
        self._made = False

    @contextmanager
    def hold(
        self, name: str, doing: str, patience: float | None = None, meanwhile: Meanwhile = lambda: False
    ) -> Iterator[None]:
        """Wait for the lease and have it in the block. doing: what its holder does, for a person who waits.

        patience: seconds to wait for a holder that lives; None is without end. meanwhile: done while it is waited for.
        Raises Busy.
        """
        lease = Lease(name, uuid4().hex, 0.0)
        self._take(lease, doing, patience, meanwhile)
        self._held[name] = lease
        try:
            yield
        finally:
            del self._held[name]
            with suppress(Exception):  # a server that is away sees the lease end
                self._do(RELEASE, lease)

    def check(self, name: str) -> None:
        """Raises LeaseLost where the lease that this process held went to another one."""
        lease = self._held.get(name)
        if lease is not None and now() > lease.sure and not self._renewed(lease):
            raise LeaseLost(name)

    def renew(self) -> None:
        """Say that this process lives."""
        for lease in tuple(self._held.values()):
            self._renewed(lease)

    def _renewed(self, lease: Lease) -> bool:
        """A lease that is over is renewed all the same where nobody else took it."""
        asked = now()
        if self._waiting.until_answered(lambda: self._do(RENEW, lease)) is None:
            return False
        lease.sure = asked + self._seconds
        return True

    def _take(self, lease: Lease, doing: str, patience: float | None, meanwhile: Meanwhile) -> None:
        began, pause, told = now(), SHORTEST, False
        while True:
            asked = now()
            if self._waiting.until_answered(lambda: self._do(TAKE, lease)) is not None:
                lease.sure = asked + self._seconds
                if told:
                    self._say("the wait is over: this machine goes on")
                return
            if patience is not None and asked - began > patience:
                raise Busy(f"{self._holder(lease)} {doing}, and this machine's turn did not come")
            if patience is None and not told and asked - began > min(QUIET, self._seconds / 2):
                self._say(
                    f"waiting for {self._holder(lease)}, which {doing}: once it has been silent for "
                    f"{self._seconds:g} s this machine goes on without it"
                )
                told = True
            if meanwhile():
                continue
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST)

    def _holder(self, lease: Lease) -> str:
        found = self._waiting.until_answered(lambda: self._do(LOOK, lease))
        return found or "another machine"

    def _do(self, statement: str, lease: Lease) -> str | None:
        """Run one statement by itself; the first value of what it returns."""
        from sqlalchemy import text

        given = {"name": lease.name, "holder": lease.holder, "who": self._who, "seconds": self._seconds}
        with self._engine.connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            if not self._made:
                self._make(connection)
            wanted = text(statement)
            values = {key: given[key] for key in wanted.compile().params}
            found: Any = connection.execute(wanted, values).scalar()
            return None if found is None else str(found)

    def _make(self, connection: Any) -> None:
        from sqlalchemy import inspect, text
        from sqlalchemy.exc import IntegrityError, ProgrammingError

        if not inspect(connection).has_table("freeu_leases"):
            with suppress(IntegrityError, ProgrammingError):  # another one makes it at this moment
                connection.execute(text(MAKE))
        self._made = True
