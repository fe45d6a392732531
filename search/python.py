"""Studies from Python: `search.run(...)` as the command runs it, `search.load(name)` for one that is there.

The settings are those of the command line, checked alike. A study comes as pandas tables, for notebooks, and as plain
objects: `Study.result` is result.json, `Study.records` are the trials.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError, quoted, unknown
from search.storage import StudyFolder
from search.storage import TrialRecord as Trial

if TYPE_CHECKING:
    import pandas as pd

    from freeu.presets import Preset
    from search.evaluation.loading import Load

__all__ = ["Study", "Trial", "load", "run"]

HELD_OUT = ("value", "base", "difference", "low", "high", "p_holm", "win_rate", "n")
"""Of a pick's score on held-out prompts: the columns of `Study.picks`."""
RIVAL = ("difference", "low", "high", "p_holm", "win_rate")
"""The same against its rival, FreeU off at the best other guidance scale."""


def run(
    config: str | os.PathLike[str] | None = None,
    *,
    on_trial: Callable[[Trial], None] | None = None,
    quiet: bool = False,
    load: Load | None = None,
    **settings: Any,
) -> Study:
    """Run a study, or resume it, to its verdict.

    Args:
        config: a YAML of settings, or the name of one, as --config.
        on_trial: is told each trial that ends, as it ends; what it raises ends the study, which can be resumed.
        quiet: print nothing.
        load: makes the model and the metrics, in place of the project's own loading.
        settings: as the flags, with "_" for "-": model="sdxl", trials=64, objectives=["clip", "fid"]; a repeatable flag
            takes a list, by either name (lora, loras).

    Raises:
        UserError: something is wrong with a setting, a file or the machine; it says what, and how to mend it.
        KeyboardInterrupt: Ctrl-C; the same call again resumes.
    """
    import typer
    from rich.console import Console

    from search.session import run_study
    from search.settings import reading as settings_of

    if on_trial is not None and not callable(on_trial):
        raise UserError(f"on_trial is {quoted(on_trial)}: expected a function that is told each trial")
    chosen = settings_of.load(None if config is None else os.fspath(config), _by_field(settings))
    console = Console(highlight=False, quiet=quiet)
    with _stoppable():
        try:
            run_study(chosen, console, load, on_trial)
        except typer.Exit:  # the command's way to end after Ctrl-C
            raise KeyboardInterrupt from None
    return Study(StudyFolder(chosen.mlruns, chosen.name))


def load(name: str, mlruns: str | os.PathLike[str] = "mlruns") -> Study:
    """A study that is there, finished or not. Raises UserError, with the nearest name, where there is none."""
    from search.terminal import find_study

    return Study(find_study(Path(mlruns), name))


@dataclass(frozen=True)
class Study:
    """A study as its files have it; each property reads them anew, so a study that still runs grows.

    Tables are pandas DataFrames. Objectives stand under their names, as measured on the search's own prompts;
    `clip_difference` is that minus the baseline's, `clip_error` one standard error of it.
    """

    folder: StudyFolder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def settings(self) -> dict[str, Any]:
        """What it was begun with."""
        return self.folder.read_settings()

    @property
    def records(self) -> list[Trial]:
        """Every trial that ended, by number."""
        return self.folder.read_trials()

    @property
    def result(self) -> dict[str, Any] | None:
        """result.json; None where the study is not finished."""
        return self.folder.read_result()

    @property
    def verdict(self) -> str | None:
        """Whether any pick beats the baseline on held-out prompts, by the metrics, and by those who voted once they are
        through; None before the end."""
        from search.voting.wording import both

        result = self.result
        return None if result is None else both(result, result.get("votes"))

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each trial, indexed by number: origin, state, factors, objectives, differences, images, seconds,
        whether it is within the guardrails and on the front, and as what it was picked."""
        return _trials(self.records, self.result or {})

    @property
    def front(self) -> pd.DataFrame:
        """The Pareto front: those rows of `trials`, with what the model expects as `expected_clip`, …"""
        result = self._finished()
        table, rows = self.trials, {row["number"]: row for row in result["front"]}
        found = table.loc[[number for number in rows if number in table.index]].drop(columns=["state", "front"])
        for name in result["objectives"]:
            found[f"expected_{name}"] = [rows[number].get("expected", {}).get(name) for number in found.index]
        return found

    @property
    def picks(self) -> pd.DataFrame:
        """A row for each pick, indexed by its name: trial, factors, and for each objective on the held-out prompts
        `clip`, `clip_base`, `clip_difference`, the ends `clip_low` and `clip_high` of its 95 % interval, `clip_p_holm`,
        `clip_win_rate`, `clip_n`; nan where it was not confirmed. Of judges, which the search never read, the same.
        `rival` names the sampling settings of its rival, FreeU off, as "guidance 4", and `clip_rival_difference`, … are
        against that; none where the baseline is it."""
        import pandas as pd

        from search.study import rival

        result, rows = self._finished(), []
        for pick in result["picks"]:
            found = rival.of_pick(pick) or {"named": None, "scores": {}}
            row = {"pick": pick["pick"], "trial": pick["number"], **_flat(pick["factors"]), "rival": found["named"]}
            scores = {**pick["scores"], **pick.get("judges", {})}
            rivals = {**found["scores"], **found.get("judges", {})}
            for name in (*result["objectives"], *result.get("judges", {})):
                score, against = scores.get(name, {}), rivals.get(name, {})
                row |= {name if key == "value" else f"{name}_{key}": score.get(key) for key in HELD_OUT}
                row |= {f"{name}_rival_{key}": against.get(key) for key in RIVAL}
            rows.append(row)
        return pd.DataFrame(rows).set_index("pick") if rows else pd.DataFrame()

    @property
    def baseline(self) -> pd.Series | None:
        """Its row of `trials`: FreeU off. None before it is complete."""
        done = [record.number for record in self.records if record.complete and record.origin == "baseline"]
        return self.trials.T[done[0]] if done else None

    def preset(self, pick: str | int | None = None) -> Preset:
        """The factors of a pick, or of a trial by its number, with what they got on held-out prompts.

        pick: the verdict's unless told, or where none wins the knee. Raises UserError.
        """
        from search.export import preset_of, usual_pick

        return preset_of(self.folder, usual_pick(self.folder) if pick is None else str(pick))

    def export(
        self, format: str = "yaml", pick: str | int | None = None, out: str | os.PathLike[str] | None = None
    ) -> str:
        """A preset in a tool's format, as text; written to `out` too, where that is given. Raises UserError."""
        from freeu import presets

        preset = self.preset(pick)
        text = presets.render(preset, format)
        if out is not None:
            presets.write(preset, Path(out), format)
        return text

    def report(self, out: str | os.PathLike[str] | None = None) -> Path:
        """Write the report, one HTML file that works offline; its path. Raises UserError before the first trial's
        end."""
        from search.reporting import pages

        file = self.folder.root / "report.html" if out is None else Path(out)
        pages.report(self.folder, file=file).write(file)
        return file

    def __repr__(self) -> str:
        from search.terminal.study_status import standing

        now = standing(self.folder)
        said = f"<Study {self.name!r}: {now.state}, {now.complete} of {now.trials} trials of {now.model}"
        return f"{said}: {now.verdict}>" if now.verdict else f"{said}>"

    def _finished(self) -> Mapping[str, Any]:
        from search.terminal.study_status import finished

        return finished(self.folder)


def _by_field(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by field: a repeatable one may come by its flag's name. Raises UserError for one that is not known."""
    from search.settings.config import FIELDS
    from search.settings.setting import flag_of

    fields = {flag_of(key, field)[2:].replace("-", "_"): key for key, field in FIELDS.items()}
    found = {fields.get(name, name): value for name, value in settings.items()}
    for name in found:
        if name not in FIELDS:
            raise unknown("setting", name, FIELDS)
    return found


def _trials(records: list[Trial], result: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    base = next((record for record in records if record.complete and record.origin == "baseline"), None)
    front = {row["number"] for row in result.get("front", [])}
    rows = []
    for record in records:
        plain = record.as_dict()
        picks = [pick["pick"] for pick in result.get("picks", []) if pick["number"] == record.number]
        row = {"number": record.number, "origin": record.origin, "state": record.state, **_flat(plain["factors"])}
        row |= _flat(plain.get("sampling", {}))
        for name, value in record.values.items():
            row[name] = value.value
            row[f"{name}_difference"] = None if base is None else value.value - base.values[name].value
            row[f"{name}_error"] = value.paired
        row |= {"images": record.images, "seconds": record.seconds.get("total", 0.0), "feasible": record.feasible}
        rows.append(row | {"front": record.number in front, "picks": ", ".join(picks), "reason": record.reason})
    return pd.DataFrame(rows).set_index("number") if rows else pd.DataFrame()


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} → {"a_b": 1}."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{before}{key}_") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C ends a study as it ends the command: after the denoising step in flight, a second one at once."""
    from search.evaluation import interrupts

    before = signal.getsignal(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    if mine:
        signal.signal(signal.SIGINT, interrupts.interrupt)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)
