"""Addresses as they are shown: whatever stands in a password, no part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import UserError
from search.storage.addresses import hidden, redacted
from search.storage.mlflow_location import mlflow_settings
from search.storage.server_address import server

PASSWORDS = [
    "pa/SECRET?x",
    "SECRET",
    "se@SECRET",
    "pa:SECRET/x",
    "?SECRET",
    "a?SECRET/b",
    "5432/SECRET?y",
    "pa#SECRET",
    "SECRET?a@b/c",
]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("end", ["host/db", "host:5432/db", "[::1]:5432/db", "host/db?password=SECRET@2", "host", ""])
def test_no_part_of_a_password_is_shown(password: str, end: str) -> None:
    url = f"postgresql://me:{password}@{end}"
    assert "SECRET" not in hidden(url)
    try:
        server(url)
    except UserError as error:
        assert "SECRET" not in str(error) and "expected postgresql://" in str(error)


def test_a_password_without_a_host_is_not_taken_for_one() -> None:
    assert hidden("postgresql://me:SECRET") == "postgresql://…"
    assert hidden("postgresql://me:pa/SECRET?x@host/db") == "postgresql://me@host/db"


@pytest.mark.parametrize(
    "url", ["postgresql://me:se@SECRET@host/db", "postgresql://h:port/db", "postgresql://h:99999/d"]
)
def test_a_host_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="in a password @ is written %40") as said:
        server(url)
    assert "SECRET" not in str(said.value)


def test_an_error_s_own_words_are_cleaned() -> None:
    url = "postgresql://me:se@SECRET%21@host/db"
    assert redacted("failed to resolve 'SECRET!@host', SECRET%21", url) == "failed to resolve '…@host', …"
    with pytest.raises(UserError) as said:
        mlflow_settings(Path("mlruns"), "http://me:pa/SECRET@host")
    assert "SECRET" not in str(said.value)
