"""A trial's files in MLflow: its images and per-image scores, from the machine that has them, after its numbers.

Which are there stands in a tag of the trial's run: no machine sends one twice, and each sends what it alone has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from configs import open_image
from search.tracking.errors import told
from search.tracking.runs import Runs
from search.tracking.uploads import Uploads

if TYPE_CHECKING:
    from PIL.Image import Image

FILES = "freeu.files"
"""Tag of a trial's run; absent where an older version logged a trial with all its files at once."""
SHOWN = re.compile(r"images/(?P<key>\w+)\+step\+(?P<step>\d+)\+.*\+compressed")


@dataclass(frozen=True)
class TrialFiles:
    """What this machine has of a trial. difference: makes the image of how far it is from the baseline's; None where
    there is nothing to compare."""

    number: int
    grid: Path | None = None
    scores: Path | None = None
    difference: Callable[[], Image | None] | None = None


class FilesOfTrials:
    """Those of one study. `found` comes first, each time that somebody looked what is there."""

    def __init__(self, runs: Runs, uploads: Uploads) -> None:
        self._runs, self._uploads = runs, uploads
        self._parent = ""
        self._there: dict[int, set[str] | None] = {}
        self._shown: set[tuple[str, int]] | None = None

    def found(self, parent: str, tags: dict[int, str | None]) -> None:
        """parent: the study's run. tags: trial → its tag FILES."""
        self._parent, self._shown = parent, None
        self._there = {number: None if tag is None else set(tag.split()) for number, tag in tags.items()}

    def begun(self, number: int) -> None:
        """A trial's run was made just now."""
        self._there[number] = set()

    def log(self, run: str, has: TrialFiles, now: int) -> bool:
        """Send what is not there yet to a trial's run, and its pictures to the study's too. Whether all that this
        machine has is there. now: in ms."""
        there = self._there.get(has.number)
        if there is None:
            return True
        offered = self._offered(run, has, now)
        fresh = {name for name, upload in offered.items() if name not in there and self._uploads.tried(name, upload)}
        if fresh:
            there |= fresh
            with told(f"log trial {has.number}", self._runs.settings):
                self._runs.write(run, tags={FILES: " ".join(sorted(there))})
        return offered.keys() <= there

    def _offered(self, run: str, has: TrialFiles, now: int) -> dict[str, Callable[[], None]]:
        """Name without blanks → what sends it."""
        client, number = self._runs.client, has.number
        found: dict[str, Callable[[], None]] = {}
        for file in (has.grid, has.scores):
            if file is not None:
                found[file.name] = partial(client.log_artifact, run, str(file))
        if has.grid is not None:
            found[f"grid+{number}"] = partial(self._show, "grid", number, partial(opened, has.grid), now)
        if has.difference is not None:
            made, name = cache(has.difference), f"{number:04d}-difference.png"
            found[name] = lambda: None if (picture := made()) is None else client.log_image(run, picture, name)
            found[f"difference+{number}"] = partial(self._show, "difference", number, made, now)
        return found

    def _show(self, key: str, number: int, make: Callable[[], Image | None], now: int) -> None:
        """Add a picture to the sliders of the study's run."""
        if self._shown is None:  # by the names that MLflow's charts read
            paths = (
                SHOWN.match(artifact.path) for artifact in self._runs.client.list_artifacts(self._parent, "images")
            )
            self._shown = {(match["key"], int(match["step"])) for match in paths if match}
        if (key, number) not in self._shown and (picture := make()) is not None:
            self._shown_at(key, number, picture, now)
            if (
                key == "difference" and (key, 0) not in self._shown
            ):  # where the slider opens: the baseline has no difference to itself
                self._shown_at(key, 0, picture, now)

    def _shown_at(self, key: str, step: int, picture: Image, now: int) -> None:
        self._runs.client.log_image(self._parent, picture, key=key, step=step, timestamp=now)
        if self._shown is not None:
            self._shown.add((key, step))


def opened(file: Path) -> Image:
    """The picture; of a running one the first."""
    with open_image(file) as picture:
        return picture.convert("RGB")
