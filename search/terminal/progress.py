"""Progress in the shell: a live panel on a terminal, and a line for each trial."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from configs.console import bounded, say
from freeu import Candidate
from search.storage import TrialRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

HEADED = 20  # trials under one header
WORST = 3  # guardrails that are named in a trial's line
LOADING = "loading the model and scorers"
ARROWS = {"up": "↑", "down": "↓"}


def best_so_far(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> dict[str, TrialRecord]:
    """Objective → the complete trial with the best observed value."""
    done = [record for record in records if record.complete and record.feasible]
    best: dict[str, TrialRecord] = {}
    for name, direction in directions.items():
        for record in done:
            value = record.values[name].value
            held = best[name].values[name].value if name in best else None
            if held is None or (value > held if direction == "up" else value < held):
                best[name] = record
    return best


def out_of_bounds(shifts: Mapping[str, float]) -> str:
    """The guardrails that are broken, the worst first: "saturation +2.1, sharpness -1.3"; empty for none."""
    worst = sorted(shifts.items(), key=lambda each: -abs(each[1]))
    broken = [f"{name} {shift:+.1f}" for name, shift in worst if abs(shift) > 1]
    return ", ".join(broken[:WORST]) + (", …" if len(broken) > WORST else "")


def duration(seconds: float) -> str:
    """As a person says it: 45 s, 3 min 5 s, 2 h 10 min, 3 days."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days"


def decimals(value: float, digits: int = 4) -> int:
    """Behind the point, so that a value has so many significant digits."""
    return max(0, digits - 1 - (math.floor(math.log10(abs(value))) if value else 0))


def _wide(name: str) -> int:
    """The width of an objective's column, arrow and space included."""
    return max(len(name) + 3, 7)


class Progress:
    """Shows each trial, and each pass of the confirmation. A context manager."""

    def __init__(
        self,
        console: Console,
        directions: Mapping[str, str],
        trials: int,
        images: int,
        held_out: int = 0,
        most: int = 0,
        cheap: str = "few steps",
    ) -> None:
        """images: of a trial. held_out: images of a confirmation that draws its prompts once; most: of all looks.
        cheap: what a first rung of cheaper images has."""
        self.console, self.directions, self.trials, self.per_trial = console, dict(directions), trials, images
        self._held_out, self._cheap = held_out, cheap
        self._first: float | None = None  # when the first trial of this process began
        self._before = 0  # trials that were complete before
        self._counted = 2 * len(str(trials)) + 1
        self._lines, self._decimals = 0, dict[str, int]()
        self.records: list[TrialRecord] = []
        self._live: Live | None = None
        self._what, self._done, self._size = "", 0.0, 0
        self._confirmed: set[str] = set()  # what had held-out images before
        self._left = 0  # images of the confirmation that are asked for and not begun
        self._most, self._drawn = most, 0  # images of the whole confirmation at most, and those drawn before this stage
        self._began = time.monotonic()
        self._stage = LOADING
        self._bytes = "", 0, 0

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self.console, get_renderable=self._panel, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def resume(self, records: Sequence[TrialRecord]) -> None:
        """Take over what was done before."""
        self.records = list(records)
        self._before = sum(record.complete for record in records)

    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None:
        self._stage, self._what = f"trial {number}", f"{origin}  {candidate}"
        self._done, self._size, self._began = 0, images, time.monotonic()
        self._first = self._began if self._first is None else self._first

    def images(self, done: float) -> None:
        self._done = done

    def reading(self, what: str, done: int, size: int) -> None:
        """Files are read before the first trial; done, size: bytes; size 0 when they are."""
        self._bytes = what, done, size
        self._stage = what or LOADING

    def ended(self, record: TrialRecord) -> None:
        self.records.append(record)
        if self._lines % HEADED == 0:
            self.say(self._header())
        self._lines += 1
        say(self.console, self._line(record), indent=4)

    def measuring(self, images: int) -> None:
        """The baseline is drawn under other seeds, for the guardrails."""
        self._stage, self._what = "guardrails", "the baseline under other seeds"
        self._done, self._size, self._began = 0, images, time.monotonic()
        self.say(
            f"measuring how {images} images differ between seeds: a trial further than that from the baseline, as by "
            "+1.2 of that spread, is out of bounds (out)"
        )

    def confirming(self, what: str, images: int, left: int, most: int) -> None:
        """Images of the confirmation are begun; left: how many come after them in this look; most: of all looks."""
        self._drawn += self._size if self._stage == "confirm" else 0
        self._stage, self._what, self._left, self._most = "confirm", what, left, most
        self._done, self._size, self._began = 0, images, time.monotonic()
        self.say(f"confirming {what} on {images} {'more ' if what in self._confirmed else ''}held-out images")
        self._confirmed.add(what)

    def say(self, text: str) -> None:
        """A line that stays."""
        say(self.console, text)

    def left(self) -> tuple[float, float] | None:
        """Estimated seconds to the end, from the trials so far; None before the first. The second is with all looks of
        the confirmation, and every rival; the first with this look alone, or before it with each prompt drawn once."""
        done = [record.seconds.get("total", 0.0) for record in self.records if record.complete]
        if not done:
            return None
        mean, now = sum(done) / len(done), time.monotonic()
        spent = sum(record.seconds.get("total", 0.0) for record in self.records if record.complete)
        per_image = spent / max(1, sum(record.images for record in self.records if record.complete))
        if self._stage == "confirm":
            spent_here = now - self._began
            least, most = (
                max(0.0, per_image * images - spent_here)
                for images in (self._size + self._left, self._most - self._drawn)
            )
            return least, max(least, most)
        # A trial by the clock: choosing its candidate and writing it down take time beside evaluating it.
        here = len(done) - self._before
        whole = (now - self._first) / here if here and self._first is not None else mean
        trials = whole * max(0, self.trials - len(done))
        return trials + per_image * self._held_out, trials + per_image * max(self._held_out, self._most)

    def left_in_words(self) -> str:
        """As "about 45 s, up to 3 min 5 s with all looks of the confirmation"."""
        if (left := self.left()) is None:
            return "unknown until the first trial ends"
        least, most = map(duration, left)
        return f"about {least}" + (f", up to {most} with all looks of the confirmation" if most != least else "")

    def _line(self, record: TrialRecord) -> str:
        """A row under `_header`; what is cut off where it is too long stands in `search.show` and in MLflow."""
        done, f = sum(one.complete for one in self.records), record.candidate.factors
        row = f"{f'{done}/{self.trials}':>{self._counted}} {record.number:>5}"
        row += "".join(f"{value:>6.2f}" for value in (f.b1, f.b2, f.s1, f.s2))
        for name in self.directions if record.complete else ():
            value = record.values[name].value
            self._decimals.setdefault(name, decimals(value))
            row += f"{value:>{_wide(name)}.{self._decimals[name]}f}"
        notes = [*(f"{name} {value}" for name, value in record.candidate.sampling.as_dict().items()), record.origin]
        if not record.complete:
            return f"{row}  {', '.join((*notes, record.ending))}"
        if not record.feasible:
            notes.insert(0, f"out: {out_of_bounds(record.guardrails)}")
        if record.images < self.per_trial:
            few = f" with {self._cheap}" if max(record.rungs, default=1) < 0 else ""
            notes.append(f"{record.images} prompts{few}")
        notes.append(f"{record.seconds.get('total', 0.0):.1f} s")
        if self._live is None:  # whose panel says it
            notes.append(f"{duration((self.left() or (0.0,))[0])} left")
        line = f"{row}  {', '.join(notes)}"
        if len(line) <= self.console.width or not bounded(self.console):
            return line
        whole = re.match(r".*[,:]", line[: self.console.width - 2])
        return f"{whole[0] if whole else row} …"

    def _header(self) -> str:
        factors = "".join(f"{name:>6}" for name in ("b1", "b2", "s1", "s2"))
        goals = "".join(f"{f'{name} {ARROWS[each]}':>{_wide(name)}}" for name, each in self.directions.items())
        return f"{'done':>{self._counted}} trial{factors}{goals}"

    def _panel(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        done = sum(record.complete for record in self.records)
        stage = "generating" if self._done < self._size else "scoring"
        table = Table.grid(padding=(0, 2))
        table.add_row("trials", ProgressBar(self.trials, min(done, self.trials), width=30), f"{done}/{self.trials}")
        what, read, size = self._bytes
        if size:
            table.add_row(what, ProgressBar(size, read, width=30), f"{read / 1e9:.1f} of {size / 1e9:.1f} GB")
        elif self._size:
            doing = f", {stage}" if self._first is not None else ""
            images = f"{int(self._done)}/{self._size} images"
            table.add_row(self._stage, ProgressBar(self._size, self._done, width=30), images + doing)
        lines: list[RenderableType] = [table, Text(self._what if self._size or size else self._stage)]
        best = best_so_far(self.records, self.directions)
        if best:
            parts = (
                f"{name} {ARROWS[self.directions[name]]} {record.values[name].value:.4g} (trial {record.number})"
                for name, record in best.items()
            )
            lines.append(Text("best so far  " + "  ".join(parts)))
        lines.append(Text(f"time left    {self.left_in_words()}"))
        return Group(*lines)
