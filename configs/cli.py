"""How every command begins and ends: empty arguments are refused, what the terminal can't show is replaced; a message
and exit code 2 for what the user can mend, 130 for Ctrl-C, no traceback."""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from configs import UserError, shortened
from configs.environment import ask_libraries

if TYPE_CHECKING:
    import typer

MENDABLE = {errno.ENOSPC: "no space left", errno.EDQUOT: "disk quota exceeded", errno.EROFS: "read-only disk"}
INTERRUPTED = 130  # 128 + SIGINT, as shells have it
LONGEST = 1000
SCRIPT = "freeu-search"
"""Characters of an error: the longest of ours lists a study's settings in 700."""
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that turn the direction of writing, and halves of a pair: they steer what shows them."""


def main(app: typer.Typer) -> NoReturn:
    """Run a typer app as a command; never returns."""
    ask_libraries()
    replace_unshowable()
    from configs.help import one_style, print_version

    try:
        check_arguments(sys.argv[1:])
        if sys.argv[1:] == ["--version"]:
            print_version()
        one_style(app)
        app()
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except PermissionError as error:
        fail(f"may not touch {error.filename or 'a file'}: {error.strerror}; give another folder with --mlruns")
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        where = f" for {error.filename}" if error.filename else ""
        fail(f"{MENDABLE[error.errno]}{where}: make room, or give another folder with --mlruns; then run again")
    sys.exit(0)


def replace_unshowable() -> None:
    """Write "?" for a character that the terminal's or the file's encoding lacks, as in a shell with LC_ALL=C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise UserError where one is empty, as from a shell variable that is not set: no flag takes an empty text."""
    for before, argument in zip(("", *arguments), arguments, strict=False):
        flag, is_pair, value = argument.partition("=") if argument.startswith("--") else (before, True, argument)
        if is_pair and not value.strip():
            name = flag if flag.startswith("-") else "an argument"
            raise UserError(f"{name} is empty: give a value, or leave it out")


def python() -> str:
    """How the person calls this Python."""
    if "UV" in os.environ:  # as `uv run` has it
        return "uv run python"
    found = shutil.which("python")
    ours = found is not None and Path(found).absolute() == Path(sys.executable).absolute()
    return "python" if ours else shlex.quote(sys.executable)


def typed(name: str) -> str:
    """How the person calls a command of ours, as the one that runs: `freeu-search show`, or as a module."""
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{'uv run ' if 'UV' in os.environ else ''}{SCRIPT} {name}"
    return f"{python()} -m search.{name}"


def fail(message: str, code: int = 2) -> NoReturn:
    """Print an error and end the process. What it quotes may come from a file of somebody else's, so it has an end."""
    from configs.console import command_console, say

    console = command_console(stderr=True)
    for line in f"error: {shortened(message, LONGEST)}".split("\n"):
        say(console, line, indent=2)
    sys.exit(code)


def visible(text: str) -> str:
    """A text whose control characters are seen and not obeyed: a line break is "\\n", in two characters."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
