"""`python -m search.report`: a finished study as one HTML file that stands alone, to read, to send, to keep.

It asks for nothing from anywhere: scripts, styles and images are in the file, and its content security policy lets
nothing else in. Names and prompts come from users' files: the template escapes them, the scripts set them as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from configs import UserError
from configs.cli import main
from search.settings import flags
from search.storage.files import replacing
from search.storage.study_folder import StudyFolder
from search.terminal.study_names import Name, Study, chosen

app = typer.Typer(add_completion=False)


@app.command()
def report(
    name: Name = None,
    study: Study = None,
    mlruns: flags.Results = Path("mlruns"),
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write (default: report.html in the study's folder).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a finished study as one HTML file that works offline."""
    folder = chosen(mlruns, name, study)
    file = folder.root / "report.html" if out is None else out
    text = page(folder)
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
    typer.echo(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB): open it in a browser")


def page(folder: StudyFolder) -> str:
    """The report's HTML. Raises UserError where the study is not finished, or a file of it is damaged."""
    from plotly.offline import get_plotlyjs

    from search.reporting.sections import sections
    from search.reporting.templating import environment, source
    from search.terminal.study_status import finished

    result = finished(folder)
    templates = environment()
    style, own = (source(name) for name in ("report.css", "report.js"))
    scripts = [get_plotlyjs(), own]
    policy = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    template = templates.get_template("report.html")
    return template.render(sections(folder, result), style=style, scripts=scripts, policy=policy)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


if __name__ == "__main__":
    main(app)
