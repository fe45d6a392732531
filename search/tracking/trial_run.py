"""A trial's own run in MLflow: its name, tags, parameters and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from search.tracking.notes import trial_name, trial_note
from search.tracking.runs import NOTE, PARENT, TRIAL, Runs
from search.tracking.tables import trial_metrics

if TYPE_CHECKING:
    from mlflow.entities import Run

    from search.storage import TrialRecord


def trial_number(run: Run) -> int | None:
    """By its parameter, which can't change in MLflow as a tag can; by the tag where no more was written. None where it
    is no trial's."""
    text = run.data.params.get("number") or run.data.tags.get(TRIAL, "")
    return int(text) if text.isdecimal() else None


def begin_trial(
    runs: Runs,
    parent: str,
    record: TrialRecord,
    now: int,
    *,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    base: TrialRecord | None = None,
    begun: str | None = None,
) -> str:
    """Begin the run of a trial that ended at `now` (ms), with all that its record holds; its id.

    tags, params: what the trials of a study share. base: the baseline's trial. begun: the run that an attempt left half
    written; what is there already is not written twice.
    """
    own = {PARENT: parent, TRIAL: str(record.number), "freeu.origin": record.origin, NOTE: trial_note(record, base)}
    if record.guardrails:
        own["freeu.within_guardrails"] = "yes" if record.feasible else "no"
    if record.reason is not None:
        own["freeu.reason"] = record.reason
    began = now - int(1000 * record.seconds.get("total", 0.0))
    run: str = begun or runs.begin(trial_name(record), {**tags, **own}, began).info.run_id
    own_params = record.factors.as_dict() | record.sampling.as_dict()
    all_params = {**params, "number": record.number, "origin": record.origin, **own_params}
    plain = {key: str(value) for key, value in all_params.items()}
    runs.write(run, params=plain, metrics=trial_metrics(record, base), now=now)
    return run
