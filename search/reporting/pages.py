"""The report of a study, and of two, as HTML files that stand alone, with a folder of full-size images beside them.

They ask for nothing from anywhere: scripts, styles and images are in the file, and its content security policy lets
nothing else in. Names and prompts come from users' files: the template escapes them, the scripts set them as text.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from search.reporting import comparison_sections, sections
from search.reporting.templating import environment, source
from search.storage import StudyFolder
from search.storage.files import replacing
from search.study.result import so_far


@dataclass(frozen=True)
class Page:
    """text: HTML. files: path in `folder_of` the page → the study's file, which the page holds smaller, or still."""

    text: str
    files: Mapping[str, Path]

    def write(self, file: Path) -> None:
        """Write the page and its folder, whose files take no room where the disk has hard links. Raises OSError."""
        for path, original in self.files.items():
            _link(original, folder_of(file) / path)
        with replacing(file) as temporary:
            temporary.write_text(self.text, "utf-8")


def folder_of(file: Path) -> Path:
    """The folder that goes with a page: report/ beside report.html."""
    return file.with_suffix("") if file.suffix else file.with_name(f"{file.name}-files")


def report(folder: StudyFolder, max_mb: float = 15, file: Path | None = None) -> Page:
    """file: where it is going to be written, for links to full-size images; without it there are none.

    Raises UserError where a file of the study is damaged, or no trial has ended yet.
    """
    from plotly.offline import get_plotlyjs

    result = folder.read_result() or so_far(folder)
    variables, files = sections.sections(folder, result, max_mb * 1e6 - sections.REST, _address(file))
    return Page(_rendered("report", variables, get_plotlyjs()), files)


def comparison(a: StudyFolder, b: StudyFolder, max_mb: float = 15, file: Path | None = None) -> Page:
    """Two studies: verdicts, differences pick by pick, their images side by side. file: as for `report`.

    Raises UserError where they don't compare.
    """
    room = max_mb * 1e6 - comparison_sections.REST
    variables, files = comparison_sections.sections(a, b, room, _address(file))
    return Page(_rendered("comparison", variables), files)


def _address(file: Path | None) -> str | None:
    return None if file is None else quote(folder_of(file).name)


def _rendered(name: str, variables: Mapping[str, Any], *libraries: str) -> str:
    scripts = [*libraries, *map(source, ("page.js", "lightbox.js", "pairs.js", "tables.js", f"{name}.js"))]
    policy = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    template = environment().get_template(f"{name}.html")
    return template.render(variables, style=source("report.css"), scripts=scripts, policy=policy)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _link(original: Path, target: Path) -> None:
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(original.resolve(), temporary)  # a link's own file: the page may go elsewhere
        except OSError:  # another disk, or one without links
            shutil.copyfile(original, temporary)
