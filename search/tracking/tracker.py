"""Logs one study to MLflow. Every call may be repeated: nothing is logged twice."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from search.storage.mlflow_location import check_folder
from search.tracking.errors import told
from search.tracking.inputs import Input, datasets
from search.tracking.notes import STUDY_NOTE, trial_name, trial_note
from search.tracking.runs import FINGERPRINT, IN_STUDY, NOTE, RANK, STUDY, TRIAL, Runs, points
from search.tracking.study_run import StudyRun
from search.tracking.tables import baseline, held_out_metrics, ranks
from search.tracking.trial_files import FILES, FilesOfTrials, TrialFiles
from search.tracking.trial_run import begin_trial, trial_number
from search.tracking.uploads import Uploads

if TYPE_CHECKING:
    from PIL.Image import Image

    from search.storage import TrialRecord

RESULT = "freeu.result"
FRONT, PICKS = "freeu.front", "freeu.picks"
UNMARKED = {FRONT: "no"}
DONE = ("FINISHED", "FAILED")


class Logged(NamedTuple):
    """A finished trial's run there. marks: its tags FRONT and PICKS. name: as the pages show it. rank: its metric."""

    run: str
    marks: dict[str, str]
    name: str
    rank: float | None = None


class Tracker:
    """Logs one study. `start`, then `trial` for each, then `finish` (or `interrupt`).

    Each raises Unreachable where the server does not answer, and UserError for what waiting doesn't mend. After
    `forget`, say because a call failed halfway, `start` finds what is there, and `trial` goes on with half a trial.
    Numbers go first; a file that can't be kept is in `uploads`, and raises nothing.
    """

    def __init__(self, mlruns: Path, study: str, uri: str | None = None) -> None:
        """uri: of a server or a database; None is the folder's own. Checks both; nothing is written before `open`, and
        mlflow isn't imported."""
        self.settings = check_folder(mlruns, uri)
        self.study = study
        self._runs = Runs(self.settings)
        self.uploads = Uploads(self.settings)
        self._files = FilesOfTrials(self._runs, self.uploads)
        self.forget()

    def forget(self) -> None:
        """As before `start`."""
        self._study_run: StudyRun | None = None
        self._trials: dict[int, Logged] = {}
        self._half: dict[int, str] = {}  # trial → a run that an attempt left unended
        self._inputs: tuple[Input, ...] = ()
        self._shared: dict[str, dict[str, str]] = {"params": {}, "tags": {}}  # what every run of the study has

    @property
    def started(self) -> bool:
        return self._study_run is not None

    @property
    def _own(self) -> StudyRun:
        assert self._study_run is not None, "start() comes first"
        return self._study_run

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
        resolved: Mapping[str, str] | None = None,
        directions: Mapping[str, str] | None = None,
        factors: Sequence[str] = ("b1", "b2", "s1", "s2"),
    ) -> None:
        """Create the study's run, or take it up again.

        config: the study's settings, nested dicts of scalars and lists; logged as parameters and config.yaml.
        tags: those of MLflow itself go to the trials' runs too. files: small files to keep beside it, as the model
        card. resolved: parameters of the study's run and of each trial's, in place of what config has. directions:
        objective → "up" or "down"; with the factors that are searched, for the view that the pages open with.
        """
        self.open()
        with told("log the study", self.settings):
            run = self._runs.of_study(self.study) or self._runs.restored(self.study, fingerprint)
            run = run or self._runs.begin(self.study, {STUDY: self.study})
            self._study_run = StudyRun(self._runs, self.uploads, run.info.run_id, run.info.start_time)
            self._inputs = tuple(inputs)
            self._runs.client.update_run(self._own.run, status="RUNNING")
            self._reconcile()
            own = {key: str(value) for key, value in tags.items() if key.startswith("mlflow.")}
            self._shared = {"params": dict(resolved or {}), "tags": {**own, IN_STUDY: self.study}}
            self._own.settings(config, self._shared["params"], run.data.params)
            if directions:
                self._runs.view(self.study, list(directions), factors)
            stamp = {STUDY: self.study, IN_STUDY: self.study, FINGERPRINT: fingerprint, **tags}
            if NOTE not in run.data.tags:
                stamp[NOTE] = STUDY_NOTE
            written = {key: str(value) for key, value in stamp.items()}
            self._runs.write(self._own.run, tags=written, metrics={RANK: 0}, now=self._own.began)
            if inputs and not (run.inputs and run.inputs.dataset_inputs):
                self._runs.client.log_inputs(self._own.run, datasets=datasets(inputs))
            self._own.keep(files)

    def look(self) -> None:
        """See what others logged meanwhile."""
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
        base: TrialRecord | None = None,
    ) -> None:
        """Log a finished trial as one child run: FINISHED, or FAILED with its reason. Twice is harmless.

        difference: of its images to the baseline's. grown: the hypervolume after each trial that it was found for now.
        ended: when, by time.time; the same whenever it is logged again. base: the baseline's trial, for differences.
        """
        when = time.time() if ended is None else ended
        self.numbers(record, grown or {}, when, base)
        self.files(TrialFiles(record.number, grid, scores, None if difference is None else lambda: difference), when)

    def numbers(
        self, record: TrialRecord, grown: Mapping[int, float], ended: float, base: TrialRecord | None = None
    ) -> None:
        """`trial` without its files."""
        if record.number not in self._trials:
            with told(f"log trial {record.number}", self.settings):
                self._log_numbers(record, grown, int(1000 * ended), base)

    def files(self, has: TrialFiles, ended: float) -> bool:
        """The files of a trial whose numbers are there. Whether all that this machine has of them are there now."""
        return self._files.log(self._trials[has.number].run, has, int(1000 * ended))

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Those of `numbers` that MLflow doesn't hold as finished trials."""
        return [number for number in numbers if number not in self._trials]

    def machine(self, readings: Sequence[tuple[float, Mapping[str, float]]]) -> None:
        """Log what `Machine` read, each with its time by time.time; their step is the seconds since the study began."""
        with told("log what the machine does", self.settings):
            self._own.machine(readings)

    def front(self, result: Mapping[str, Any], records: Sequence[TrialRecord]) -> None:
        """Log the front (JSON, CSV, table, interactive page) in place of what was there, its best, and the trials'
        ranks. result: as result.json, its front and objectives at least."""
        from search.reporting.mlflow_page import study_page

        base, done = baseline(records), sum(record.complete for record in records)
        with told("log the front", self.settings):
            self._own.best(result, base, done)
            self._rank(ranks(records, result))
        self._own.front(result, base, study_page(self.study, records, result))

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
        verdict = str(result.get("verdict", ""))
        with told("log the result", self.settings):
            self._mark_front(result, {record.number: record for record in records}, baseline(records))
            self._runs.write(self._own.run, tags={"freeu.verdict": verdict, NOTE: verdict})
            self._runs.client.set_terminated(self._own.run, status)
        self._own.put("result.json", json.dumps(dict(result), indent=2, default=str))
        self._own.keep(files)
        self.front(result, records)
        self.stamp(stamp)

    def stamp(self, stamp: str) -> None:
        """Say that all of the result with this stamp is there, unless a file is not."""
        if stamp and not self.uploads.failed:
            with told("log the result", self.settings):
                self._runs.write(self._own.run, tags={RESULT: stamp})

    def has(self, stamp: str, numbers: Iterable[int]) -> bool:
        """Whether the result with this stamp is there, and each of these trials once. Changes no run."""
        self.open()
        with told("read the study", self.settings):
            run = self._runs.of_study(self.study)
            if run is None or run.data.tags.get(RESULT) != stamp or run.info.status != "FINISHED":
                return False
            there = Counter(child.data.tags.get(TRIAL) for child in self._runs.of_trials(run.info.run_id))
            return all(there[str(number)] == 1 for number in numbers)

    def interrupt(self) -> None:
        """Mark the study's run KILLED; harmless before `start` and after `finish`."""
        if not self.started:
            return
        with told("end the study", self.settings):
            if self._runs.client.get_run(self._own.run).info.status == "RUNNING":
                self._runs.client.set_terminated(self._own.run, "KILLED")

    def _reconcile(self) -> None:
        """Which trials are there. One that is there twice is deleted once; one whose process or server died while it
        was logged goes on where it was."""
        self._trials, self._half, tags = {}, {}, {}
        found = self._runs.of_trials(self._own.run)
        for run in sorted(found, key=lambda run: (run.info.status not in DONE, run.info.start_time, run.info.run_id)):
            number = trial_number(run)
            if number is None:  # a person's own
                continue
            if run.data.tags.get(TRIAL) != str(number):
                self._runs.write(run.info.run_id, tags={TRIAL: str(number)})
            if number in self._trials or number in self._half:
                if run.info.status not in DONE:
                    self._runs.client.set_terminated(run.info.run_id, "KILLED")
                self._runs.client.delete_run(run.info.run_id)
            elif run.info.status in DONE:
                marks = {key: value for key, value in run.data.tags.items() if key in (FRONT, PICKS)}
                rank = run.data.metrics.get(RANK)
                self._trials[number] = Logged(run.info.run_id, marks, run.info.run_name, rank)
                tags[number] = run.data.tags.get(FILES)
            else:
                self._half[number] = run.info.run_id
        self._files.found(self._own.run, tags)

    def _log_numbers(self, record: TrialRecord, grown: Mapping[int, float], now: int, base: TrialRecord | None) -> None:
        client, number = self._runs.client, record.number
        tags = {**self._shared["tags"], **UNMARKED, FILES: ""}
        params, begun = self._shared["params"], self._half.get(number)
        run = begin_trial(self._runs, self._own.run, record, now, tags=tags, params=params, base=base, begun=begun)
        if self._inputs:
            client.log_inputs(run, datasets=datasets(self._inputs))
        # On the study's run too, by trial number: its charts and its image sliders grow while the study runs. Said
        # again with the same time, a number is not written twice.
        history = points({f"trial/{name}": value.value for name, value in record.values.items()}, number, now)
        for step, value in grown.items():
            history += points({"trial/hypervolume": value}, step, now)
        client.log_batch(self._own.run, metrics=history, synchronous=True)
        client.set_terminated(run, "FINISHED" if record.complete else "FAILED", end_time=now)
        self._half.pop(number, None)
        self._trials[number] = Logged(run, UNMARKED, trial_name(record))
        self._files.begun(number)

    def _rank(self, found: Mapping[int, int]) -> None:
        """Log the ranks that changed."""
        for number, rank in found.items():
            trial = self._trials.get(number)
            if trial and trial.rank != rank:
                self._runs.write(trial.run, metrics={RANK: rank})
                self._trials[number] = trial._replace(rank=rank)

    def _mark_front(
        self, result: Mapping[str, Any], records: Mapping[int, TrialRecord], base: TrialRecord | None
    ) -> None:
        """Tag every trial with whether it is on the front, and as which picks, for filtering; a pick's run is named so,
        and has its held-out scores."""
        front = {row["number"] for row in result.get("front", [])}
        for number, (run, marks, name, rank) in self._trials.items():
            picks = [pick for pick in result.get("picks", []) if pick["number"] == number]
            names = ", ".join(pick["pick"] for pick in picks)
            tags = {FRONT: "yes" if number in front else "no"}
            if names or PICKS in marks:
                tags[PICKS] = names
            if picks or tags != marks:
                if number in records:
                    tags |= {NOTE: trial_note(records[number], base, picks)}
                self._runs.write(run, tags=tags, metrics=held_out_metrics(picks[0]) if picks else {})
            # A name that a person gave stays.
            if number in records and name == trial_name(records[number], marks.get(PICKS, "")):
                if (wanted := trial_name(records[number], names)) != name:
                    self._runs.client.update_run(run, name=wanted)
                marked = {key: tags[key] for key in (FRONT, PICKS) if key in tags}
                self._trials[number] = Logged(run, marked, wanted, rank)
