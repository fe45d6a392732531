"""What is drawn of a base model beside its studies, in MLflow: each time a run of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from search.storage.mlflow_location import Settings
from search.tracking.errors import told
from search.tracking.runs import NOTE, Runs

FIGURES = "freeu.figures"


def log_figures(
    settings: Settings,
    name: str,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    diagnosis: str,
    files: Iterable[Path],
) -> None:
    """The paper's analysis. settings: where MLflow's data lie. name: of the model. Raises Unreachable, UserError."""
    log_files(settings, f"figures of {name}", params, metrics, diagnosis, files, {FIGURES: name})


def log_files(
    settings: Settings,
    run_name: str,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    note: str,
    files: Iterable[Path],
    tags: Mapping[str, str] | None = None,
) -> None:
    """Files as a run. Raises Unreachable, UserError."""
    runs = Runs(settings)
    with told(f"log the {run_name.partition(' ')[0]}", settings):
        runs.open()
        run = runs.begin(run_name, {NOTE: note, **(tags or {})}).info.run_id
        runs.write(run, params=params, metrics=metrics)
        for file in files:
            runs.client.log_artifact(run, str(file))
        runs.client.set_terminated(run)
