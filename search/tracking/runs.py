"""The runs of a study in MLflow: how they are reached, found and written to."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from search.storage.mlflow_location import ALL_STUDIES, EXPERIMENT, MARK, VIEW_STATE, Settings, settle, view_key
from search.tracking import views
from search.tracking.database import create
from search.tracking.notes import EXPERIMENT_NOTE

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

EXPERIMENT_TAGS = {
    MARK: EXPERIMENT,
    "mlflow.note.content": EXPERIMENT_NOTE,
    "mlflow.experimentKind": "custom_model_development",
}  # else the UI shows pages for chat agents
STUDY, TRIAL, FINGERPRINT = "freeu.study", "freeu.trial", "freeu.fingerprint"
IN_STUDY = "study"  # on the study's run and on each of its trials', to filter by
RANK = "rank"  # by which a study's list is sorted; its own run has 0, so that it stands above the trials
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"  # MLflow's own: the tree, and the description of a run
LONGEST = 5000  # characters of a parameter or tag; MLflow takes 6000 and 8000


class Runs:
    """`open` comes first: it makes `client`, and `experiment`, the id of ours."""

    def __init__(self, settings: Settings) -> None:
        """Reaches nothing, and mlflow isn't imported."""
        self.settings = settings

    def open(self) -> None:
        """Reach MLflow, and make the experiment where there is none."""
        os.environ.update(self.settings.environment)
        settle(self.settings)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # else: forty lines on making the tables
        self.settings.folder.mkdir(parents=True, exist_ok=True)
        if self.settings.own and not self.settings.database.exists():
            create(self.settings)
        self.client = MlflowClient(tracking_uri=self.settings.uri)
        self.experiment = self._the_experiment()

    def _the_experiment(self) -> str:
        from mlflow.entities import ViewType
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:  # a person may have renamed it
            marked = f"tags.`{MARK}` = '{EXPERIMENT}'"
            renamed = self.client.search_experiments(ViewType.ALL, filter_string=marked, order_by=["creation_time ASC"])
            experiment = next(iter(renamed), None)
        if experiment is None:
            artifacts = None if self.settings.remote else self.settings.artifacts.as_uri()
            try:
                return self.client.create_experiment(EXPERIMENT, artifact_location=artifacts, tags=EXPERIMENT_TAGS)
            except MlflowException:
                experiment = self.client.get_experiment_by_name(EXPERIMENT)  # by another one, just now
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(experiment.experiment_id)
        for key in (MARK, NOTE):  # what a person wrote there stays
            if key not in experiment.tags:
                self.client.set_experiment_tag(experiment.experiment_id, key, EXPERIMENT_TAGS[key])
        return experiment.experiment_id

    def view(self, study: str, objectives: Sequence[str], factors: Iterable[str]) -> None:
        """Say how the pages open the list of the study's trials, and that of all studies."""
        tags = self.client.get_experiment(self.experiment).tags
        before = tags.get(VIEW_STATE + view_key(ALL_STUDIES))
        for key, value in (views.of_study(study, RANK, objectives, factors), views.of_all(objectives, before)):
            if tags.get(key) != value:
                self.client.set_experiment_tag(self.experiment, key, value)

    def of_study(self, name: str) -> Run | None:
        """The run of the study itself."""
        where, first = f"tags.`{STUDY}` = '{name}'", ["attributes.start_time ASC"]
        found = self.client.search_runs([self.experiment], where, max_results=1, order_by=first)
        return found[0] if found else None

    def restored(self, name: str, fingerprint: str) -> Run | None:
        """The run of the study where a person deleted it, or took its tag away: it is there again."""
        from mlflow.entities import ViewType

        where = f"attributes.run_name = '{name}' AND tags.`{FINGERPRINT}` = '{fingerprint}'"
        first = ["attributes.start_time ASC"]
        found = self.client.search_runs([self.experiment], where, ViewType.ALL, max_results=1, order_by=first)
        if not found:
            return None
        if found[0].info.lifecycle_stage == "deleted":
            self.client.restore_run(found[0].info.run_id)
        return found[0]

    def of_trials(self, study: str) -> list[Run]:
        """Those of its trials. study: the id of the study's run."""
        found: list[Run] = []
        token: str | None = None
        while True:
            where = f"tags.`{PARENT}` = '{study}'"
            page = self.client.search_runs([self.experiment], where, max_results=500, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def begin(self, name: str, tags: Mapping[str, str], when: int | None = None) -> Run:
        """A new one. when: it began, in ms; now where it isn't said."""
        return self.client.create_run(self.experiment, start_time=when, tags=dict(tags), run_name=name)

    def write(
        self,
        run: str,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        now: int | None = None,
    ) -> None:
        """One write for all: MLflow on SQLite takes some 20 ms for each. now: in ms."""
        from mlflow.entities import Param, RunTag

        self.client.log_batch(
            run,
            metrics=points(metrics or {}, 0, now),
            params=[Param(key, value[:LONGEST]) for key, value in (params or {}).items()],
            tags=[RunTag(key, value[:LONGEST]) for key, value in (tags or {}).items()],
            synchronous=True,
        )


def points(values: Mapping[str, float], step: int, now: int | None) -> list[Metric]:
    """MLflow's metrics; a value that isn't a number (a set metric's spread) is left out, not made 0. now: in ms."""
    from mlflow.entities import Metric

    when = int(1000 * time.time()) if now is None else now
    return [Metric(key, float(value), when, step) for key, value in values.items() if math.isfinite(value)]
