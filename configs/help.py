"""--help of every command in one style: no word for a switch's type or an argument's, one column for a switch that is
on, --version beside --help.
"""

from __future__ import annotations

import sys
from copy import copy
from typing import Any, NoReturn

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup


def version() -> str:
    """Of this package, as it is installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("freeu-search")
    except PackageNotFoundError:  # read from its folder
        return "not installed"


def print_version() -> NoReturn:
    """Print it, and end the process."""
    print(f"freeu-search {version()}")
    sys.exit(0)


def one_style(app: typer.Typer) -> None:
    """Have an app and its commands show their help so."""
    app.info.cls = Group
    for each in app.registered_commands:
        each.cls = Command


class Command(TyperCommand):
    """A command with that help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        shown = copy(self)
        shown.params = [_shown(each) for each in self.params]
        TyperCommand.format_help(shown, ctx, formatter)


class Group(TyperGroup):
    """Several commands with that help."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))


def _plain(params: list[Any]) -> list[Any]:
    """No type for switches and arguments; --version before --help, unless the command has another, as of FreeU."""
    for each in params:
        if isinstance(each, TyperArgument):
            vars(each)["display_type_rich"] = lambda ctx: None
        elif each.is_bool_flag:
            each.metavar = ""
    if any("--version" in each.opts for each in params):
        return params
    said = copy(params[-1])  # --help
    said.name, said.opts, said.help, said.callback = "print_version", ["--version"], "Show the version and exit.", _told
    return [*params[:-1], said, params[-1]]


def _told(ctx: Any, param: Any, asked: bool) -> None:
    if asked:
        print_version()


def _shown(param: Any) -> Any:
    """A parameter as the help has it."""
    found = copy(param)
    if found.secondary_opts:
        found.opts, found.secondary_opts = [f"--[no-]{found.opts[0][2:]}"], []
    return found
