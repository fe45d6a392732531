"""The terminal as every command prints to it: prose wraps at words, tables lose columns before cells break, and a file
or a pipe gets whole lines.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.cli import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.style import Style
    from rich.table import Table

WIDTH = 110
"""Of a file or a pipe, unless COLUMNS says otherwise."""
UNBOUNDED = 10_000


def command_console(stderr: bool = False, quiet: bool = False) -> Console:
    """Where a command prints: as wide as the terminal, else as COLUMNS says, else WIDTH."""
    from rich.console import Console

    known = (sys.stderr if stderr else sys.stdout).isatty() or _asked()
    return Console(highlight=False, width=None if known else WIDTH, stderr=stderr, quiet=quiet)


def say(console: Console, text: str, indent: int = 0, joint: str = "", style: str | Style = "") -> None:
    """Print prose, broken between words where a person reads it.

    indent: of the lines after the first. joint: what ends a line that goes on, as " \\\\" in a command to be copied.
    """
    from rich.text import Text

    lines = [visible(text)]
    if console.is_terminal or console.is_jupyter or _asked():
        lines = textwrap.wrap(
            lines[0],
            console.width - len(joint),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    said = Text(f"{joint}\n".join(lines), style)
    said.highlight_regex("^(error|warning):", "bold red")
    console.print(said, soft_wrap=True)


def tell(text: str, err: bool = False) -> None:
    """Print a sentence of a command. err: to stderr."""
    say(command_console(stderr=err), text)


@dataclass(frozen=True)
class Column:
    """cells: from the top down. number: whether they are aligned at the right. rank: 0 stays; where a table is too
    wide, the columns of the highest rank go first."""

    head: str
    cells: Sequence[str]
    number: bool = False
    rank: int = 0


def table(console: Console, columns: Sequence[Column]) -> Table:
    """As many of the columns as fit; cells break between words where even those of rank 0 are too wide."""
    from rich.table import Table
    from rich.text import Text

    for most in sorted({each.rank for each in columns}, reverse=True):
        kept = [each for each in columns if each.rank <= most]
        made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for each in kept:
            made.add_column(Text(visible(each.head)), justify="right" if each.number else "left")
        for cells in zip(*(each.cells for each in kept), strict=True):
            made.add_row(*(Text(visible(cell)) for cell in cells))
        if fits(console, made):
            break
    return made


def fits(console: Console, made: Table) -> bool:
    """Whether no cell of a table has to break."""
    return console.measure(made, options=console.options.update(width=UNBOUNDED)).maximum <= console.width


def _asked() -> bool:
    return os.environ.get("COLUMNS", "").isdigit()
