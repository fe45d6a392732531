"""The address of a shared study's PostgreSQL server: what --storage takes, checked and in SQLAlchemy's form."""

from __future__ import annotations

import re

from configs import UserError
from search.storage.addresses import hidden

DRIVER = "postgresql+psycopg"
HOST = re.compile(r"[\w.:%-]*")  # several, and those of IPv6, among them


def server(url: str) -> str:
    """The address as SQLAlchemy takes it. Raises UserError where it is no PostgreSQL's, or psycopg is not there."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in ("postgresql", "postgres", DRIVER):
        raise UserError(
            f"--storage {hidden(url)}: expected postgresql://user:password@host/database; without it the study is "
            "kept in its folder, in SQLite, for one machine only"
        )
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise UserError(f'--storage needs another package: pip install "freeu-search[postgresql]" ({error})') from error
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(f"{DRIVER}://{rest}")
        sound = HOST.fullmatch(found.host or "") and 0 < (found.port or 1) < 65536
        if not sound or (found.database is None and not found.query):
            raise ValueError(url)
    except (ArgumentError, ValueError):
        raise UserError(
            f"--storage {hidden(url)}: expected postgresql://user:password@host/database; in a password @ is written "
            "%40, : %3A, / %2F, ? %3F and % %25"
        ) from None
    return f"{DRIVER}://{rest.replace('{', '%7B').replace('}', '%7D')}"  # Optuna takes braces for a template
