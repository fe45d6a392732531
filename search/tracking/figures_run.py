"""The paper's analysis of a base model in MLflow: each time a run of its own."""

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
    """settings: where MLflow's data lie. name: of the model. Raises Unreachable, UserError."""
    runs = Runs(settings)
    with told("log the figures", settings):
        runs.open()
        run = runs.begin(f"figures of {name}", {FIGURES: name, NOTE: diagnosis}).info.run_id
        runs.write(run, params=params, metrics=metrics)
        for file in files:
            runs.client.log_artifact(run, str(file))
        runs.client.set_terminated(run)
