"""`python -m search.report`: a study as one HTML file that stands alone, to read, to send, to keep.

It asks for nothing from anywhere: scripts, styles and images are in the file, and its content security policy lets
nothing else in. Names and prompts come from users' files: the template escapes them, the scripts set them as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from configs import UserError
from configs.cli import main
from configs.console import tell
from search.settings import flags
from search.storage import StudyFolder
from search.storage.files import replacing
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
        typer.Option(
            "--max-mb",
            min=6,
            metavar="MB",
            help="Size of the file; images are fitted into it (default: 15).",
            show_default=False,
        ),
    ] = 15,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a study as one HTML file that works offline; of an unfinished one what is known so far."""
    if compare is not None:
        if name is not None or study is not None:
            raise UserError("give the name of one study, or --compare A B")
        folders = [find_study(mlruns, each) for each in compare]
        file = folders[0].root / f"report-{folders[1].name}.html" if out is None else out
        text = comparison_page(*folders)
    else:
        folder = chosen(mlruns, name, study)
        file = folder.root / "report.html" if out is None else out
        text = page(folder, max_mb, "." if file.absolute().parent == folder.root else None)
    try:
        if file.is_dir():
            raise UserError(f"--out {file} is a folder: name a file in it, as {file / 'report.html'}")
        with replacing(file) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"can't write {file}: {error.strerror}; give another file with --out") from error
    if as_json:
        typer.echo(json.dumps({"study": folder.name, "file": str(file), "bytes": file.stat().st_size}, indent=2))
        return
    tell(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB): open it in a browser")


def page(folder: StudyFolder, max_mb: float = 15, beside: str | None = None) -> str:
    """The report's HTML.

    beside: the address of the study's folder as seen from the page, for links to full-size files. Raises UserError
    where a file of the study is damaged, or no trial has ended yet.
    """
    from plotly.offline import get_plotlyjs

    from search.reporting.sections import REST, sections
    from search.reporting.templating import source
    from search.study.result import so_far

    result = folder.read_result() or so_far(folder)
    scripts = [get_plotlyjs(), source("lightbox.js"), source("report.js")]
    return _rendered("report.html", scripts, sections(folder, result, max_mb * 1e6 - REST, beside))


def comparison_page(a: StudyFolder, b: StudyFolder) -> str:
    """Two studies on one page: verdicts, differences pick by pick. Raises UserError where they don't compare."""
    from search.reporting.comparison_sections import sections

    return _rendered("comparison.html", [], sections(a, b))


def _rendered(name: str, scripts: list[str], variables: Mapping[str, Any]) -> str:
    from search.reporting.templating import environment, source

    policy = " ".join(f"'sha256-{_digest(script)}'" for script in scripts) or "'none'"
    template = environment().get_template(name)
    return template.render(variables, style=source("report.css"), scripts=scripts, policy=policy)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


if __name__ == "__main__":
    main(app)
