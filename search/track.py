"""A study in MLflow: a parent run for the study, a child run for each trial. Nothing else imports mlflow.

MLflow is for looking, `mlruns/studies/NAME` is the truth: what is missing here is logged again from there on
resume. Everything goes through `MlflowClient` with an explicit URI, so no global state is read or set, and an
`mlruns` folder elsewhere on the machine can't change where results land.

Runs are found by their tags, never by their names: `freeu.study` on the parent, `freeu.trial` on a child.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError
from search.plots import front_page
from search.store import EXPERIMENT, Settings, check_folder

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from search.records import TrialRecord

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # else the UI shows pages for chat agents
STUDY, TRIAL = "freeu.study", "freeu.trial"
PARENT, NOTE = (
    "mlflow.parentRunId",
    "mlflow.note.content",
)  # MLflow's own: the tree, and the description of a run
DONE = ("FINISHED", "FAILED")
LONGEST = 5000  # characters of a parameter or tag; MLflow takes 6000 and 8000


@contextmanager
def _told(doing: str, settings: Settings) -> Iterator[None]:
    """Turn what MLflow, its database or the disk raises into one sentence."""
    import sqlalchemy
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        hint = ""
        if "out-of-date database schema" in str(error):
            hint = f"; another MLflow wrote it: back it up and run `mlflow db upgrade {settings.uri}`"
        raise UserError(f"could not {doing} in {settings.database}: {reason}{hint}") from error


def _create(settings: Settings) -> None:
    """Make MLflow's database under another name, then rename: killed among its migrations, none is there.

    One process at a time does it, so studies that start at once in one folder don't meet half-made tables.
    """
    import fcntl

    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    part = settings.folder / "mlflow.db.part"
    with (settings.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if settings.database.exists():
            return
        for left in settings.folder.glob("mlflow.db.part*"):
            left.unlink()
        engine = create_sqlalchemy_engine(f"sqlite:///{part}")
        try:
            _initialize_tables(engine)
        finally:
            engine.dispose()
        part.rename(settings.database)


class Tracker:
    """Logs one study. `start`, then `trial` for each, then `finish` (or `interrupt`)."""

    def __init__(self, mlruns: Path, study: str) -> None:
        """Check the folder; nothing is written, and mlflow isn't imported, before `start`."""
        self.settings = check_folder(mlruns)
        self.study = study
        self._parent: str | None = None
        self._trials: dict[int, tuple[str, str]] = {}  # number → (run id, status)

    def start(
        self, config: Mapping[str, Any], fingerprint: str, tags: Mapping[str, str], files: Iterable[Path] = ()
    ) -> None:
        """Create the study's run, or take it up again.

        config: the study's settings, nested dicts of scalars and lists; logged as parameters and config.yaml.
        files: small files to keep beside it, as the model card. A trial that a killed process left half
        logged is thrown away, to be logged again. Raises UserError.
        """
        os.environ.update(self.settings.environment)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)  # else: forty lines on making the tables
        with _told("log the study", self.settings):
            self.settings.folder.mkdir(parents=True, exist_ok=True)
            if not self.settings.database.exists():
                _create(self.settings)
            self._client = MlflowClient(tracking_uri=self.settings.uri)
            self._experiment = self._the_experiment()
            self._parent, known = self._the_parent()
            self._trials = self._reconciled_trials()
            self._log_config(config, known)
            stamp = {"freeu.fingerprint": fingerprint, **tags}
            self._batch(self._parent, tags={key: str(value) for key, value in stamp.items()})
            for file in files:
                self._client.log_artifact(self._parent, str(file))

    def trial(self, record: TrialRecord, grid: Path | None, scores: Path | None) -> None:
        """Log a finished trial as one child run: FINISHED, or FAILED with its reason. Twice is harmless."""
        if self._trials.get(record.number, ("", ""))[1] in DONE:
            return
        with _told(f"log trial {record.number}", self.settings):
            self._log_trial(record, grid, scores)

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Those of `numbers` that MLflow doesn't hold as finished trials."""
        return [number for number in numbers if self._trials.get(number, ("", ""))[1] not in DONE]

    def finish(
        self,
        result: Mapping[str, Any],
        records: Sequence[TrialRecord],
        status: str = "FINISHED",
        files: Iterable[Path] = (),
    ) -> None:
        """Log the front (table, JSON, interactive page), the picks and the verdict, and end the study's run.

        result: as result.json holds it. files: more to keep there, as presets.
        """
        assert self._parent is not None, "start() comes first"
        client, run = self._client, self._parent
        with _told("log the result", self.settings):
            verdict = str(result.get("verdict", ""))
            self._batch(run, tags={"freeu.verdict": verdict, NOTE: verdict}, metrics=_pick_metrics(result))
            client.log_dict(run, dict(result), "result.json")
            client.log_text(run, json.dumps(result.get("front", []), indent=2), "front.json")
            client.log_text(run, front_page(self.study, records, result), "front.html")
            self._log_front_table(result)
            self._mark_front(result)
            for file in files:
                client.log_artifact(run, str(file))
            client.set_terminated(run, status)

    def interrupt(self) -> None:
        """Mark the study's run KILLED; harmless before `start` and after `finish`."""
        if self._parent is None:
            return
        with _told("end the study", self.settings):
            if self._client.get_run(self._parent).info.status == "RUNNING":
                self._client.set_terminated(self._parent, "KILLED")

    def _the_experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            artifacts = self.settings.artifacts.as_uri()
            return self._client.create_experiment(EXPERIMENT, artifact_location=artifacts, tags=EXPERIMENT_TAGS)
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id

    def _the_parent(self) -> tuple[str, dict[str, str]]:
        """The study's run, RUNNING, and the parameters that it has already."""
        found = self._client.search_runs([self._experiment], f"tags.`{STUDY}` = '{self.study}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
            self._client.update_run(run_id, status="RUNNING")
            return run_id, dict(found[0].data.params)
        run = self._client.create_run(self._experiment, tags={STUDY: self.study}, run_name=self.study)
        return run.info.run_id, {}

    def _reconciled_trials(self) -> dict[int, tuple[str, str]]:
        trials: dict[int, tuple[str, str]] = {}
        token: str | None = None
        while True:
            where = f"tags.`{PARENT}` = '{self._parent}'"
            page = self._client.search_runs([self._experiment], where, max_results=500, page_token=token)
            for run in page:
                if run.info.status in DONE:
                    trials[int(run.data.tags[TRIAL])] = (run.info.run_id, run.info.status)
                else:  # its process died while logging
                    self._client.set_terminated(run.info.run_id, "KILLED")
                    self._client.delete_run(run.info.run_id)
            token = page.token
            if not token:
                return trials

    def _log_config(self, config: Mapping[str, Any], known: Mapping[str, str]) -> None:
        """Parameters can't change in MLflow: what a resume changed (say, more trials) is told in a tag."""
        import yaml

        assert self._parent is not None
        flat = {key: str(value)[:LONGEST] for key, value in _flat(config)}
        fresh = {key: value for key, value in flat.items() if key not in known}
        changed = {f"resumed.{key}": value for key, value in flat.items() if known.get(key, value) != value}
        self._batch(self._parent, params=fresh, tags=changed)
        self._client.log_text(self._parent, yaml.safe_dump(json.loads(json.dumps(config, default=str))), "config.yaml")

    def _log_trial(self, record: TrialRecord, grid: Path | None, scores: Path | None) -> None:
        assert self._parent is not None, "start() comes first"
        f, client, total = record.factors, self._client, record.seconds.get("total", 0.0)
        began = int(1000 * (time.time() - total))
        name = f"#{record.number:02d} b1 {f.b1:.2f} b2 {f.b2:.2f} s1 {f.s1:.2f} s2 {f.s2:.2f}"
        tags = {PARENT: self._parent, TRIAL: str(record.number), "freeu.origin": record.origin}
        if record.guardrails:
            tags["freeu.within_guardrails"] = "yes" if record.feasible else "no"
        if record.reason is not None:
            tags |= {"freeu.reason": record.reason[:LONGEST], NOTE: record.reason[:LONGEST]}
        run = client.create_run(self._experiment, start_time=began, tags=tags, run_name=name).info.run_id
        values = {name: value.value for name, value in record.values.items()}
        metrics = values | {f"{name}.se": value.spread for name, value in record.values.items()}
        metrics |= {f"seconds.{part}": seconds for part, seconds in record.seconds.items()}
        metrics |= {f"guardrail.{name}": shift for name, shift in record.guardrails.items()}
        metrics |= {"images": record.images, "unet_evaluations": record.unet_evaluations}
        generating = record.seconds.get("generate", 0.0)
        if generating > 0 and record.unet_evaluations:  # else all scores were known from before
            metrics["images_per_second"] = record.images / generating
        params = {"number": record.number, "origin": record.origin, **f.as_dict()}
        self._batch(run, params={key: str(value) for key, value in params.items()}, metrics=metrics)
        for file in (grid, scores):
            if file is not None:
                client.log_artifact(run, str(file))
        # On the study's run too, by trial number: its charts and its image slider grow while the study runs.
        self._batch(self._parent, metrics=values, step=record.number)
        if grid is not None:
            from PIL import Image

            with Image.open(grid) as picture:
                client.log_image(self._parent, picture.convert("RGB"), key="grid", step=record.number)
        status = "FINISHED" if record.state == "COMPLETE" else "FAILED"
        client.set_terminated(run, status)
        self._trials[record.number] = (run, status)

    def _log_front_table(self, result: Mapping[str, Any]) -> None:
        """The front as MLflow's table. `log_table` appends, so a later front replaces its file."""
        import pandas as pd

        assert self._parent is not None
        rows = pd.DataFrame([dict(_flat(row)) for row in result.get("front", [])], dtype=object)
        if rows.empty:
            return
        file = "front_table.json"
        if file in {artifact.path for artifact in self._client.list_artifacts(self._parent)}:
            self._client.log_text(self._parent, rows.to_json(orient="split", index=False), file)
        else:
            self._client.log_table(self._parent, rows, file)

    def _mark_front(self, result: Mapping[str, Any]) -> None:
        """Tag every trial with whether it is on the front, and as which picks, for filtering."""
        front = {row["number"] for row in result.get("front", [])}
        for number, (run, _) in self._trials.items():
            picks = [pick["pick"] for pick in result.get("picks", []) if pick["number"] == number]
            tags = {"freeu.front": "yes" if number in front else "no", "freeu.picks": ", ".join(picks)}
            self._batch(run, tags=tags)

    def _batch(
        self,
        run: str,
        *,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
    ) -> None:
        """One write for all: MLflow on SQLite takes some 20 ms for each."""
        from mlflow.entities import Param, RunTag

        self._client.log_batch(
            run,
            metrics=_metrics(metrics or {}, step),
            params=[Param(key, value) for key, value in (params or {}).items()],
            tags=[RunTag(key, value[:LONGEST]) for key, value in (tags or {}).items()],
            synchronous=True,
        )


def _metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    """MLflow metrics; a value that isn't a number (a set metric's spread) is left out, not made 0."""
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    return [Metric(key, float(value), now, step) for key, value in values.items() if math.isfinite(value)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """{"a": {"b": 1}} → ("a.b", 1)."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _pick_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The picks' held-out scores: `knee.clip`, and `.difference`, `.low`, `.high` against no FreeU."""
    metrics: dict[str, float] = {}
    for pick in result.get("picks", []):
        for metric, score in pick.get("scores", {}).items():
            name = f"{pick['pick']}.{metric}"
            metrics[name] = score["value"]
            metrics |= {
                f"{name}.{key}": score[key] for key in ("difference", "low", "high") if score.get(key) is not None
            }
    return metrics
