"""`python -m search.report`: a study as one HTML file that stands alone, to read, to send, to keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from configs import UserError
from configs.cli import main
from configs.console import tell
from search.settings import flags
from search.terminal import Name, Study, chosen, find_study

app = typer.Typer(add_completion=False)


@app.command()
def report(
    name: Name = None,
    study: Study = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two finished studies side by side instead.", show_default=False),
    ] = None,
    mlruns: flags.Results = Path("mlruns"),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write (default: report.html in the study's folder).")
    ] = None,
    max_mb: Annotated[
        float,
        typer.Option("--max-mb", min=6, max=4000, metavar="MB", help="Size of the file; larger images go beside it."),
    ] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a study as one HTML file that works offline; of an unfinished one what is known so far."""
    from search.reporting import pages

    if compare is not None:
        if name is not None or study is not None:
            raise UserError("give the name of one study, or --compare A B")
        folders = [find_study(mlruns, each) for each in compare]
        file = folders[0].root / f"report-{folders[1].name}.html" if out is None else out
        made = pages.comparison(folders[0], folders[1], max_mb, file)
    else:
        folders = [chosen(mlruns, name, study)]
        file = folders[0].root / "report.html" if out is None else out
        made = pages.report(folders[0], max_mb, file)
    try:
        if file.is_dir():
            raise UserError(f"--out {file} is a folder: name a file in it, as {file / 'report.html'}")
        made.write(file)
    except OSError as error:
        raise UserError(f"can't write {file}: {error.strerror}; give another file with --out") from error
    beside = pages.folder_of(file)
    if as_json:
        told = {"study": folders[0].name, "file": str(file), "bytes": file.stat().st_size}
        typer.echo(json.dumps(told | {"folder": str(beside) if made.files else None}, indent=2))
        return
    tell(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB): open it in a browser")
    if made.files:
        size = sum(each.stat().st_size for each in made.files.values()) / 1e6
        tell(f"{beside} holds {len(made.files)} images at full size ({size:.0f} MB), which it links to")


if __name__ == "__main__":
    main(app)
