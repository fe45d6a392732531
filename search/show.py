"""`python -m search.show NAME`: one study in the terminal, finished or not."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from configs import UserError
from configs.cli import main
from configs.console import command_console, say
from search.settings import flags
from search.terminal import Name, Study, chosen
from search.terminal.study_status import of_result, standing

app = typer.Typer(add_completion=False)


@app.command()
def show(
    name: Name = None,
    study: Study = None,
    mlruns: flags.Results = Path("mlruns"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: settings, trials and result.")] = False,
) -> None:
    """Show a study: its front, its picks beside the baseline, its verdict."""
    folder = chosen(mlruns, name, study)
    now = standing(folder)
    if now.state == "damaged":
        raise UserError(f"study '{folder.name}': {now.verdict}")
    records, result = folder.read_trials(), folder.read_result()
    if as_json:
        found = asdict(now) | {"settings": folder.read_settings()}
        found |= {"records": [record.as_dict() for record in records], "result": result}
        if result is not None:
            from search.voting import booth

            found["votes"] = booth.told(folder, result)
        typer.echo(json.dumps(found, indent=2))
        return
    from search.study import printed_result
    from search.terminal import progress
    from search.voting import booth, wording

    console = command_console()
    say(console, f"{now.study}: {now.state}, {now.complete} of {now.trials} trials of {now.model}")
    for record in records:
        if not record.complete:
            say(console, f"trial {record.number} {record.ending}", indent=4)
    if result is not None:
        if part := of_result(records, result)[1]:
            say(console, f"its result is {part}")
        told = booth.told(folder, result)
        printed_result.tables(console, {**result, "verdict": wording.both(result, told)})
        if told is not None:
            wording.show(console, told)
        printed_result.ways_on(console, folder, mlruns, result)
        return
    directions = {name: value.direction for record in records for name, value in record.values.items()}
    for objective, record in progress.best_so_far(records, directions).items():
        value = record.values[objective].value
        said = f"best so far in {objective}: {value:.4g}, trial {record.number}, {record.candidate}"
        say(console, said, indent=4)


if __name__ == "__main__":
    main(app)
