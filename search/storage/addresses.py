"""Addresses of servers and databases, as they are shown, logged and kept: without any part of a password.

Where an address can be read in several ways (a "/", "?" or "@" that may be in the password or end it), no more is shown
than all of them leave open.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

PLACE = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:/@?]*)(:\d+)?(/[^@?]*)?")
"""host:port/path, or a path alone."""
SHORTEST = 3
"""Characters of a part of a password that is looked for: shorter ones are in every sentence."""


def hidden(url: str) -> str:
    """An address without its password, and without what stands behind a question mark, which may be one."""
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    place, _, query = rest.partition("?")
    user, at, host = rest.rpartition("@") if "@" in query else place.rpartition("@")
    if "@" in query:
        if PLACE.fullmatch(place) and ":" not in place:  # no password before the mark: host/db?password=a@b
            user, at, host = "", "", place
        elif "?" in host or "@" in place or PLACE.fullmatch(place):
            return f"{scheme}{mark}…"
    if not PLACE.fullmatch(host):
        return f"{scheme}{mark}…"
    return f"{scheme}{mark}{user.partition(':')[0]}{at}{host}"


def redacted(text: str, url: str) -> str:
    """A text, as an error's, without those parts of an address that `hidden` leaves out."""
    shown = hidden(url)
    parts = {part for whole in (url, unquote(url)) for part in re.split(r"[:/@?&=#\s]+", whole)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= SHORTEST and part not in shown:
            text = text.replace(part, "…")
    return text
