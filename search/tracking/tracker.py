"""Logs one study to MLflow. Every call may be repeated: nothing is logged twice."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from configs import open_image
from search.storage.mlflow_location import check_folder
from search.tracking.errors import told
from search.tracking.inputs import Input, datasets
from search.tracking.runs import LONGEST, NOTE, STUDY, TRIAL, Runs, points
from search.tracking.tables import flat, front_table, held_out_metrics
from search.tracking.trial_run import begin_trial

if TYPE_CHECKING:
    from PIL.Image import Image

    from search.storage.trial_record import TrialRecord

RESULT = "freeu.result"
FRONT, PICKS = "freeu.front", "freeu.picks"
UNMARKED = {FRONT: "no", PICKS: ""}
DONE = ("FINISHED", "FAILED")
SHOWN = re.compile(r"images/(?P<key>\w+)\+step\+(?P<step>\d+)\+.*\+compressed")
AT_ONCE = 900  # metrics in one call; MLflow takes 1000


class Logged(NamedTuple):
    """A finished trial's run there. marks: its tags FRONT and PICKS."""

    run: str
    marks: dict[str, str]


class Tracker:
    """Logs one study. `start`, then `trial` for each, then `finish` (or `interrupt`).

    Each raises Unreachable if the server does not answer, and UserError for errors that waiting won't fix. After
    `forget`, say because a call failed halfway, `start` finds what is there and deletes half-logged trials.
    """

    def __init__(self, mlruns: Path, study: str, uri: str | None = None) -> None:
        """uri: of a server or a database; None is the folder's own. Checks both; nothing is written before `open`, and
        mlflow isn't imported."""
        self.settings = check_folder(mlruns, uri)
        self.study = study
        self._runs = Runs(self.settings)
        self.forget()

    def forget(self) -> None:
        """As before `start`."""
        self._parent: str | None = None
        self._began = 0  # of the study's run, in ms
        self._trials: dict[int, Logged] = {}
        self._shown: set[tuple[str, int]] | None = None
        self._inputs: tuple[Input, ...] = ()

    @property
    def started(self) -> bool:
        return self._parent is not None

    def open(self) -> None:
        """Reach MLflow, and make the experiment where there is none."""
        with told("log the study", self.settings):
            self._runs.open()

    def start(
        self,
        config: Mapping[str, Any],
        fingerprint: str,
        tags: Mapping[str, str],
        files: Iterable[Path] = (),
        inputs: Sequence[Input] = (),
    ) -> None:
        """Create the study's run, or take it up again.

        config: the study's settings, nested dicts of scalars and lists; logged as parameters and config.yaml.
        files: small files to keep beside it, as the model card. A trial that a killed process left half
        logged is thrown away, to be logged again.
        """
        self.open()
        with told("log the study", self.settings):
            run = self._runs.of_study(self.study) or self._runs.begin(self.study, {STUDY: self.study})
            self._parent, self._began, self._inputs = run.info.run_id, run.info.start_time, tuple(inputs)
            self._runs.client.update_run(self._parent, status="RUNNING")
            self._reconcile()
            self._log_config(config, run.data.params)
            stamp = {"freeu.fingerprint": fingerprint, **tags}
            self._runs.write(self._parent, tags={key: str(value) for key, value in stamp.items()})
            if inputs and not (run.inputs and run.inputs.dataset_inputs):
                self._runs.client.log_inputs(self._parent, datasets=datasets(inputs))
            for file in files:
                self._runs.client.log_artifact(self._parent, str(file))

    def look(self) -> None:
        """See what others logged meanwhile, and throw away what is half there."""
        with told("read the study", self.settings):
            self._reconcile()

    def trial(
        self,
        record: TrialRecord,
        grid: Path | None,
        scores: Path | None,
        *,
        difference: Image | None = None,
        grown: Mapping[int, float] | None = None,
        ended: float | None = None,
    ) -> None:
        """Log a finished trial as one child run: FINISHED, or FAILED with its reason. Twice is harmless.

        difference: of its images to the baseline's. grown: the hypervolume after each trial that it was found for now.
        ended: when, by time.time; the same whenever it is logged again.
        """
        if record.number in self._trials:
            return
        with told(f"log trial {record.number}", self.settings):
            pictures = {name: made for name, made in (("grid", _opened(grid)), ("difference", difference)) if made}
            files = [file for file in (grid, scores) if file is not None]
            self._log_trial(record, files, pictures, grown or {}, time.time() if ended is None else ended)

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Those of `numbers` that MLflow doesn't hold as finished trials."""
        return [number for number in numbers if number not in self._trials]

    def machine(self, readings: Sequence[tuple[float, Mapping[str, float]]]) -> None:
        """Log what `Machine` read, each with its time by time.time; their step is the seconds since the study began."""
        from mlflow.entities import Metric

        assert self._parent is not None, "start() comes first"
        found = [
            Metric(name, value, int(1000 * when), max(0, round(when - self._began / 1000)))
            for when, values in readings
            for name, value in values.items()
        ]
        with told("log what the machine does", self.settings):
            for first in range(0, len(found), AT_ONCE):
                self._runs.client.log_batch(self._parent, metrics=found[first : first + AT_ONCE])

    def front(self, result: Mapping[str, Any], records: Sequence[TrialRecord]) -> None:
        """Log the front (JSON, CSV, table, interactive page) in place of what was there. result: as result.json, its
        front and objectives at least."""
        from search.reporting.mlflow_page import study_page

        assert self._parent is not None, "start() comes first"
        client, run = self._runs.client, self._parent
        with told("log the front", self.settings):
            rows = front_table(result)
            client.log_text(run, json.dumps(result.get("front", []), indent=2), "front.json")
            client.log_text(run, study_page(self.study, records, result), "front.html")
            if rows.empty:
                return
            client.log_text(run, rows.to_csv(index=False), "front.csv")
            # `log_table` appends, so a later front replaces its file.
            if "front_table.json" in {artifact.path for artifact in client.list_artifacts(run)}:
                client.log_text(run, rows.to_json(orient="split", index=False), "front_table.json")
            else:
                client.log_table(run, rows, "front_table.json")

    def finish(
        self,
        result: Mapping[str, Any],
        records: Sequence[TrialRecord],
        status: str = "FINISHED",
        files: Iterable[Path] = (),
        stamp: str = "",
    ) -> None:
        """Log the front, the picks and the verdict, and end the study's run.

        result: as result.json holds it. files: more to keep there, as presets. stamp: of the result, for `has`.
        """
        assert self._parent is not None, "start() comes first"
        client, run = self._runs.client, self._parent
        self.front(result, records)
        with told("log the result", self.settings):
            client.log_dict(run, dict(result), "result.json")
            self._mark_front(result)
            for file in files:
                client.log_artifact(run, str(file))
            verdict = str(result.get("verdict", ""))
            tags = {"freeu.verdict": verdict, NOTE: verdict, RESULT: stamp}
            self._runs.write(run, tags=tags)
            client.set_terminated(run, status)

    def has(self, stamp: str, numbers: Iterable[int]) -> bool:
        """Whether the result with this stamp and these trials are all there. Changes nothing but the experiment."""
        self.open()
        with told("read the study", self.settings):
            run = self._runs.of_study(self.study)
            if run is None or run.data.tags.get(RESULT) != stamp or run.info.status != "FINISHED":
                return False
            return set(numbers) <= {int(child.data.tags[TRIAL]) for child in self._runs.of_trials(run.info.run_id)}

    def interrupt(self) -> None:
        """Mark the study's run KILLED; harmless before `start` and after `finish`."""
        if self._parent is None:
            return
        with told("end the study", self.settings):
            if self._runs.client.get_run(self._parent).info.status == "RUNNING":
                self._runs.client.set_terminated(self._parent, "KILLED")

    @property
    def page(self) -> str | None:
        """The address of the study's page on its server; None without a server, or before `start`."""
        if not self.settings.remote or self._parent is None:
            return None
        return f"{self.settings.place}/#/experiments/{self._runs.experiment}/runs/{self._parent}"

    def _reconcile(self) -> None:
        """Which trials are there. What is half there is deleted, and so is one that is there twice."""
        assert self._parent is not None, "start() comes first"
        self._trials, self._shown = {}, None
        for run in sorted(self._runs.of_trials(self._parent), key=lambda run: run.info.run_id):
            number = int(run.data.tags.get(TRIAL, -1))
            if run.info.status in DONE and number not in self._trials:
                marks = {key: value for key, value in run.data.tags.items() if key in (FRONT, PICKS)}
                self._trials[number] = Logged(run.info.run_id, marks)
            else:  # its process or its server died while it was logged
                self._runs.client.set_terminated(run.info.run_id, "KILLED")
                self._runs.client.delete_run(run.info.run_id)

    def _log_config(self, config: Mapping[str, Any], known: Mapping[str, str]) -> None:
        """Parameters can't change in MLflow: what a resume changed (say, more trials) is told in a tag."""
        import yaml

        assert self._parent is not None
        # What is not set says nothing, and MLflow writes all parameters above each image of its charts.
        given = [(key, value) for key, value in flat(config) if key in known or value not in (None, [])]
        plain = {key: str(value)[:LONGEST] for key, value in given}
        fresh = {key: value for key, value in plain.items() if key not in known}
        changed = {f"resumed.{key}": value for key, value in plain.items() if known.get(key, value) != value}
        self._runs.write(self._parent, params=fresh, tags=changed)
        self._runs.client.log_text(
            self._parent, yaml.safe_dump(json.loads(json.dumps(config, default=str))), "config.yaml"
        )

    def _log_trial(
        self,
        record: TrialRecord,
        files: Sequence[Path],
        pictures: Mapping[str, Image],
        grown: Mapping[int, float],
        ended: float,
    ) -> None:
        assert self._parent is not None, "start() comes first"
        client, now = self._runs.client, int(1000 * ended)
        run = begin_trial(self._runs, self._parent, record, UNMARKED, now)
        if self._inputs:
            client.log_inputs(run, datasets=datasets(self._inputs))
        for file in files:
            client.log_artifact(run, str(file))
        if "difference" in pictures:
            client.log_image(run, pictures["difference"], f"{record.number:04d}-difference.png")
        # On the study's run too, by trial number: its charts and its image sliders grow while the study runs. Said
        # again with the same time, a number is not written twice.
        history = points({name: value.value for name, value in record.values.items()}, record.number, now)
        for number, value in grown.items():
            history += points({"hypervolume": value}, number, now)
        client.log_batch(self._parent, metrics=history, synchronous=True)
        for key, picture in pictures.items():
            if (key, record.number) not in self._pictures():
                client.log_image(self._parent, picture, key=key, step=record.number, timestamp=now)
        client.set_terminated(run, "FINISHED" if record.complete else "FAILED", end_time=now)
        self._trials[record.number] = Logged(run, UNMARKED)

    def _pictures(self) -> set[tuple[str, int]]:
        """(key, trial) of those on the study's run, by the names that MLflow's charts read: as they were at `look`."""
        if self._shown is None:
            assert self._parent is not None, "start() comes first"
            artifacts = self._runs.client.list_artifacts(self._parent, "images")
            found = (SHOWN.match(artifact.path) for artifact in artifacts)
            self._shown = {(match["key"], int(match["step"])) for match in found if match}
        return self._shown

    def _mark_front(self, result: Mapping[str, Any]) -> None:
        """Tag every trial with whether it is on the front, and as which picks, for filtering; log the picks' scores."""
        front = {row["number"] for row in result.get("front", [])}
        for number, (run, marks) in self._trials.items():
            picks = [pick for pick in result.get("picks", []) if pick["number"] == number]
            names = ", ".join(pick["pick"] for pick in picks)
            tags = {FRONT: "yes" if number in front else "no", PICKS: names}
            if picks or tags != marks:
                self._runs.write(run, tags=tags, metrics=held_out_metrics(picks[0]) if picks else {})


def _opened(file: Path | None) -> Image | None:
    if file is None:
        return None
    with open_image(file) as picture:
        return picture.convert("RGB")
