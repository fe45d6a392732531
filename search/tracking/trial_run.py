"""A trial's own run in MLflow: its name, tags, parameters and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.tracking.runs import NOTE, PARENT, TRIAL, Runs
from search.tracking.tables import trial_metrics

if TYPE_CHECKING:
    from mlflow.entities import Run

    from search.storage.trial_record import TrialRecord


def trial_number(run: Run) -> int | None:
    """By its parameter, which can't change in MLflow as a tag can; by the tag where no more was written. None where it
    is no trial's."""
    text = run.data.params.get("number") or run.data.tags.get(TRIAL, "")
    return int(text) if text.isdecimal() else None


def begin_trial(
    runs: Runs, parent: str, record: TrialRecord, marks: Mapping[str, str], now: int, begun: str | None = None
) -> str:
    """Begin the run of a trial that ended at `now` (ms), with all that its record holds; its id.

    begun: the run that an attempt left half written; what is there already is not written twice.
    """
    f = record.factors
    name = f"#{record.number:02d} b1 {f.b1:.2f} b2 {f.b2:.2f} s1 {f.s1:.2f} s2 {f.s2:.2f}"
    tags = {PARENT: parent, TRIAL: str(record.number), "freeu.origin": record.origin, **marks}
    if record.guardrails:
        tags["freeu.within_guardrails"] = "yes" if record.feasible else "no"
    if record.reason is not None:
        tags |= {"freeu.reason": record.reason, NOTE: record.reason}
    run: str = begun or runs.begin(name, tags, now - int(1000 * record.seconds.get("total", 0.0))).info.run_id
    params = {"number": record.number, "origin": record.origin, **f.as_dict()}
    runs.write(run, params={key: str(value) for key, value in params.items()}, metrics=trial_metrics(record), now=now)
    return run
