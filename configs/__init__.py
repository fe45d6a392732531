"""What can be chosen, as data (models, prompt sets, studies), and what is said when a choice is wrong.

A leaf: it imports nothing of ours, so that freeu, metrics and search can all raise the same kind of error.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["UserError", "identity", "path", "read_yaml", "unknown"]


class UserError(Exception):
    """Root of the project's exceptions: something that the user can mend.

    The message is complete: what was wrong, the value, the fix. Commands print it and end with exit code 2.
    """


def unknown(kind: str, name: str, known: Iterable[str], near: str | None = None) -> UserError:
    """The error for a name that doesn't exist, with the nearest one that does, or the one that `near` says is meant."""
    names = sorted(known)
    found = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5) if near is None else [near]
    hint = f"did you mean '{found[0]}'? " if found else ""
    return UserError(f"unknown {kind} '{name}': {hint}known: {', '.join(names) or 'none'}")


def path(*parts: str) -> Path:
    """A file or folder of this package, also where it is installed."""
    return Path(__file__).parent.joinpath(*parts)


def read_yaml(file: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds. Only plain data: a tag that would build an object is refused.

    Raises:
        UserError: the file can't be read, is no YAML, or holds something else than a mapping.
    """
    import yaml

    try:
        found = yaml.safe_load(Path(file).read_text("utf-8"))
    except OSError as error:
        raise UserError(f"can't read {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text in UTF-8: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UserError(f"{file}{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{file}: expected 'key: value' lines, found a {type(found).__name__}")
    return found


def identity(source: Path) -> str:
    """SHA-256 of a file, or of every file under a folder with its relative name: names weights by what they are."""
    digest = hashlib.sha256()
    files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
    for file in files:
        digest.update(file.relative_to(source).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
