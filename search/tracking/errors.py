"""Turns what MLflow, its server, its database or the disk raise into one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from configs import UserError
from search.storage.addresses import redacted
from search.storage.mlflow_location import Settings

CREDENTIALS = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


class Unreachable(UserError):
    """The server does not answer now; it may later. status: of its answer, where it was an error of its own."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Refused(UserError):
    """The server answered, and waiting alone doesn't mend it. status: of its answer."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@contextmanager
def told(doing: str, settings: Settings) -> Iterator[None]:
    """Raise Unreachable, or UserError for errors that waiting won't fix."""
    import sqlalchemy
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        reason = redacted(next(iter(str(error).strip().splitlines()), type(error).__name__), settings.uri)
        if settings.remote:
            raise _of_server(doing, settings.place, error, reason) from error
        away = isinstance(error, sqlalchemy.exc.OperationalError) and not settings.uri.startswith("sqlite")
        if away:
            raise Unreachable(f"the database {settings.place} does not answer ({reason})") from error
        hint = ""
        if "out-of-date database schema" in str(error):
            hint = f"; another MLflow wrote it: back it up and run `mlflow db upgrade {settings.place}`"
        raise UserError(f"could not {doing} in {settings.place}: {reason}{hint}") from error


def _of_server(doing: str, place: str, error: Exception, reason: str) -> UserError:
    from mlflow.exceptions import RestException

    found = re.search(r"error code (\d+)|^(\d{3}) (?:Client|Server) Error|too many (\d{3}) error", str(error))
    if isinstance(error, RestException):
        status = error.get_http_status_code()
    else:
        status = int(found[1] or found[2] or found[3]) if found is not None else None
    if status == 401:
        return Refused(f"{place} rejects the user name or password: {CREDENTIALS}", status)
    if status == 403:
        return Refused(f"{place} does not allow this ({reason[:200]})", status)
    if (status == 404 and not isinstance(error, RestException)) or "valid JSON" in str(error):
        return UserError(f"{place} is not an MLflow server: check --tracking-uri and MLFLOW_TRACKING_URI")
    if status is not None and status < 500 and status not in (408, 429):
        return Refused(f"could not {doing} at {place}: {reason[:400]}", status)
    return Unreachable(f"{place} does not answer ({_short(str(error), status)})", status)


def _short(text: str, status: int | None) -> str:
    """The cause of a failed connection, out of its layers of wrapping."""
    if status is not None:
        return f"error {status}"
    if found := re.search(r"\[Errno -?\d+\] ([^'\")>]+)", text):
        return found[1].strip().lower()
    if "timed out" in text or "timeout" in text:
        return "no answer in time"
    return text[:200]
