"""Command-line flags, made from the fields of `StudyConfig`, and the flags that several commands share."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

from search.settings import completions
from search.settings.setting import PLACE, bare, choices_of, flag_of, setting_of
from search.storage import StudyFolder
from search.storage.addresses import hidden
from search.storage.mlflow_location import Settings, check_folder

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Results = Annotated[Path, typer.Option(metavar="DIR", help="Results folder (default: mlruns).", show_default=False)]
ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE|NAME",
        help="YAML with any of these flags as keys; flags win.",
        rich_help_panel=PLACE,
        autocompletion=completions.study_configs,
    ),
]


def tracked_at(folder: StudyFolder, mlruns: Path) -> Settings:
    """Where MLflow has a study's runs. Raises UserError."""
    kept = folder.read_settings().get("tracking_uri")
    asked = os.environ.get("MLFLOW_TRACKING_URI")  # with the password that the kept one is without
    uri = asked if asked and kept == hidden(asked) else kept
    return check_folder(mlruns, uri)


def with_settings(
    *names: str, leave_out: tuple[str, ...] = (), said: Mapping[str, str] | None = None, **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command with an option for each setting: those named, else all but `leave_out`.

    The command's first argument, `given`, maps field to value for the options that the user gave. Its other parameters
    are options as usual. said: help of a setting that means something else to this command. defaults: values that
    differ, for this command, from a study's defaults.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        from search.settings.config import FIELDS

        chosen = [key for key in (names or FIELDS) if key not in leave_out]
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        options = [_option(key, FIELDS[key], defaults.get(key), (said or {}).get(key)) for key in chosen]

        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            given = {key: values.pop(key) for key in chosen}
            given |= {key: value for key, value in defaults.items() if given[key] is None}
            command({key: value for key, value in given.items() if value is not None}, **values)

        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [*options, *(each.replace(kind=keyword) for each in own)]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapped

    return decorate


def _option(key: str, field: FieldInfo, default: Any, help: str | None) -> inspect.Parameter:
    """A setting as typer reads it: an option without a value of its own, so that what was given can be told."""
    setting, kind, flag = setting_of(field), bare(field.annotation), flag_of(key, field)
    choices = choices_of(field)
    if kind is bool:
        flag += f"/--no-{flag[2:]}" if field.default else ""
    several = get_origin(kind) is tuple and setting.flag is not None
    kind = bare(get_args(kind)[0]) if several else kind
    kind = str if get_origin(kind) is not None else kind
    said = _default(field, default)
    option = typer.Option(
        flag,
        metavar=setting.metavar,
        help=f"{help or setting.help} (default: {said})." if said else f"{help or setting.help}.",
        rich_help_panel=setting.group,
        show_default=False,
        autocompletion=completions.SETTINGS.get(key) or (completions.among(choices) if choices else None),
    )
    annotation = Annotated[list[kind] | None if several else kind | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _default(field: FieldInfo, default: Any) -> str | None:
    """In words, for --help."""
    value = field.default if default is None else default
    if isinstance(value, bool):
        return "on" if value else None
    return setting_of(field).default if value in (None, ()) else str(value)
