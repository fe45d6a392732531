"""Work that all machines of a study share: posted on its server piece by piece, done by whoever is free.

A piece is a row: what is to be done, who has it in hand until when by the server's clock, and what came of it. As with
`search.storage.leases`, whoever is silent for too long loses a piece to another one; a piece under which machine after
machine fell silent counts as failed. What was found first stays. The rows go with the study where Optuna deletes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from search.storage.waiting import Waiting

MAKE = """CREATE TABLE IF NOT EXISTS freeu_work (
    study integer NOT NULL REFERENCES studies (study_id) ON DELETE CASCADE, name text NOT NULL, job text NOT NULL,
    place bigserial, holder text, until timestamptz, takes integer NOT NULL DEFAULT 0, reason text, found bytea,
    PRIMARY KEY (study, name))"""
FAILED = "freeu_work.found IS NULL AND freeu_work.takes >= :most AND freeu_work.until < clock_timestamp()"
HELD = "study = :study AND holder = :holder AND found IS NULL"
ENDS = "clock_timestamp() + make_interval(secs => :seconds)"
POST = f"""INSERT INTO freeu_work (study, name, job) VALUES (:study, :name, :job) ON CONFLICT (study, name)
    DO UPDATE SET until = NULL, takes = 0, reason = NULL WHERE {FAILED}"""
TAKE = f"""WITH next AS (SELECT name, holder IS NOT NULL AS begun FROM freeu_work
        WHERE study = :study AND found IS NULL AND takes < :most AND (until IS NULL OR until < clock_timestamp())
        AND name <> ALL(:but) ORDER BY place LIMIT 1 FOR UPDATE SKIP LOCKED)
    UPDATE freeu_work SET holder = :holder, until = {ENDS}, takes = takes + 1 FROM next
    WHERE study = :study AND freeu_work.name = next.name RETURNING next.name, job, begun"""
KEEP = "UPDATE freeu_work SET found = :found WHERE study = :study AND name = :name AND found IS NULL"
BACK = f"""UPDATE freeu_work SET until = clock_timestamp(), takes = takes - :forgiven, reason = :reason
    WHERE {HELD} AND name = :name"""
RENEW = f"UPDATE freeu_work SET until = {ENDS} WHERE {HELD} AND until > clock_timestamp()"
ENDED = f"""SELECT name, found, reason FROM freeu_work
    WHERE study = :study AND name = ANY(:names) AND (found IS NOT NULL OR ({FAILED}))"""
DROP = "DELETE FROM freeu_work WHERE study = :study AND name = :name"
CLEAR = "DELETE FROM freeu_work WHERE study = :study"
MOST = 3
"""Machines that may fail at a piece, or fall silent with it in hand: it may be what ends them."""


class PostedWork:
    """That of one study, for one process. Let `renew` be called several times in `seconds`."""

    def __init__(self, engine: Engine, study_id: int, seconds: float, waiting: Waiting) -> None:
        """seconds: that a piece outlives the last sign of whoever has it. waiting: where the server is away."""
        self._engine, self._waiting, self._made = engine, waiting, False
        self._given = {"study": study_id, "holder": uuid4().hex, "seconds": seconds, "most": MOST}

    def post(self, name: str, job: str) -> None:
        """One that is there already stays as it is, but for one that failed: it is to be tried again."""
        self._do(POST, name=name, job=job)

    def take(self, but: Iterable[str] = ()) -> tuple[str, str, bool] | None:
        """(name, job, whether somebody had it before) of the next piece that nobody has; None where there is none. It
        is this process's until it is silent. but: names of those that it can't do."""
        found = self._do(TAKE, but=list(but))
        return (str(found[0][0]), str(found[0][1]), bool(found[0][2])) if found else None

    def keep(self, name: str, found: bytes) -> None:
        """What came of a piece."""
        self._do(KEEP, name=name, found=found)

    def give_back(self, name: str, reason: str | None = None) -> None:
        """A piece of this process is for others. reason: why it could not be done, if that is so."""
        self._do(BACK, name=name, reason=reason, forgiven=int(reason is None))

    def renew(self) -> None:
        """Say that this process lives."""
        if self._made:
            self._do(RENEW)

    def ended(self, names: Iterable[str]) -> dict[str, bytes | str | None]:
        """Of those that ended, what was found; of those that machine after machine failed at, why the last one did, or
        None where it fell silent."""
        rows = self._do(ENDED, names=list(names))
        return {str(name): reason if found is None else bytes(found) for name, found, reason in rows}

    def drop(self, name: str) -> None:
        """Remove a piece: what it was for is known."""
        self._do(DROP, name=name)

    def clear(self) -> None:
        """Remove all of them."""
        self._do(CLEAR)

    def _do(self, statement: str, **more: Any) -> list[Any]:
        return list(self._waiting.until_answered(lambda: self._done(statement, {**self._given, **more})))

    def _done(self, statement: str, given: Mapping[str, Any]) -> list[Any]:
        """Run one statement by itself; the rows that it returns."""
        from sqlalchemy import text
        from sqlalchemy.exc import IntegrityError, ProgrammingError

        with self._engine.connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            if not self._made:
                with suppress(IntegrityError, ProgrammingError):  # another one makes it at this moment
                    connection.execute(text(MAKE))
                self._made = True
            wanted = text(statement)
            found = connection.execute(wanted, {key: given[key] for key in wanted.compile().params})
            return list(found) if found.returns_rows else []
