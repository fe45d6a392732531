"""`python -m search.run`: a study from its settings to its verdict."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from contextlib import nullcontext, redirect_stdout
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs import UserError
from configs.cli import main, typed, visible
from configs.console import command_console, say, tell
from search.evaluation import interrupts
from search.settings import flags
from search.settings.setting import PLACE

if TYPE_CHECKING:
    from rich.console import Console

    from search.settings.config import StudyConfig

app = typer.Typer(add_completion=False)


@app.command()
@flags.with_settings()
def run(
    given: dict[str, Any],
    config: flags.ConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and exit.", rich_help_panel=PLACE)] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the verdict alone.", rich_help_panel=PLACE)] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the result or the plan as JSON; the rest to stderr.", rich_help_panel=PLACE),
    ] = False,
) -> None:
    """Find the FreeU factors that suit a model, and test whether they help at all.

    Run the same command again to resume.
    """
    from search.settings.reading import load

    settings = load(config, given)
    console = command_console(stderr=as_json, quiet=quiet)
    if dry_run:
        _show_plan(settings, console, as_json)
        return
    signal.signal(signal.SIGTERM, interrupts.interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else Ctrl-C is ignored, as in the background
        signal.signal(signal.SIGINT, interrupts.interrupt)
    from search.session import run_study
    from search.voting.wording import both

    result = run_study(settings, console)
    if settings.judge == "person":
        with redirect_stdout(sys.stderr) if as_json or quiet else nullcontext():
            result = _judged(settings, result)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    elif quiet:
        typer.echo(visible(both(result, result.get("votes"))))


def _judged(config: StudyConfig, result: dict[str, Any]) -> dict[str, Any]:
    """Have a person give the finalists' verdict, where one is at the terminal; else say how. The result with it."""
    from search.storage import StudyFolder
    from search.tracking.votes import conclude
    from search.voting.asking import open_until_stopped, person
    from search.voting.booth import Booth

    folder = StudyFolder(config.mlruns, config.name)
    try:
        booth = Booth(folder, result)
        if not booth.told()["over"] and _person():
            open_until_stopped(booth, person())
            conclude(booth, config.mlruns)
            return folder.read_result() or result
    except UserError as error:  # the study ends as it does without
        tell(f"nobody can vote: {error}", err=True)
        return result
    where = f"--study {config.name} --mlruns {shlex.quote(str(config.mlruns))}"
    say(command_console(stderr=True), f"vote        {typed('vote')} {where}", indent=12, joint=" \\")
    return folder.read_result() or result


def _person() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


def _show_plan(config: StudyConfig, console: Console, as_json: bool) -> None:
    """All that can be told without torch."""
    from search.settings.job import check_enough, prepare
    from search.study.plan import plan

    job = prepare(config)
    check_enough(job)
    planned = plan(job)
    if as_json:
        typer.echo(json.dumps(planned.as_dict(), indent=2))
    else:
        planned.show(console)


class _Called(ModuleType):
    """This module, which `import search; search.run(model="sdxl")` calls: see search/python.py."""

    def __call__(self, *given: Any, **settings: Any) -> Any:
        return import_module("search.python").run(*given, **settings)


sys.modules[__name__].__class__ = _Called

if __name__ == "__main__":
    main(app)
