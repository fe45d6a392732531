"""The study's own run in MLflow: its settings, its files, its front, and what the machine does meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.tracking.runs import LONGEST, Runs, points
from search.tracking.tables import flat, front_table, shown, study_metrics
from search.tracking.uploads import Uploads

if TYPE_CHECKING:
    import pandas as pd

    from search.storage import TrialRecord

AT_ONCE = 900  # metrics in one call; MLflow takes 1000


class StudyRun:
    """`run`: its id. `began`: when, in ms. A file that can't be kept is in `uploads`, and raises nothing."""

    def __init__(self, runs: Runs, uploads: Uploads, run: str, began: int) -> None:
        self.run, self.began = run, began
        self._runs, self._uploads = runs, uploads

    def put(self, name: str, text: str) -> None:
        """Keep a text as a file."""
        self._uploads.put(name, partial(self._runs.client.log_text, self.run, text, name))

    def keep(self, files: Iterable[Path]) -> None:
        """Keep copies of files."""
        for file in files:
            self._uploads.put(file.name, partial(self._runs.client.log_artifact, self.run, str(file)))

    def settings(self, config: Mapping[str, Any], resolved: Mapping[str, str], known: Mapping[str, str]) -> None:
        """Log the settings as parameters and as config.yaml. resolved: in place of what config has. known: parameters
        that are there. They can't change in MLflow: what a resume changed (say, more trials) is told in a tag."""
        import yaml

        # What is not set says nothing, and MLflow writes all parameters above each image of its charts.
        given = [(key, value) for key, value in flat({**config, **resolved}) if key in known or value not in (None, [])]
        plain = {key: str(value)[:LONGEST] for key, value in given}
        fresh = {key: value for key, value in plain.items() if key not in known}
        changed = {f"resumed.{key}": value for key, value in plain.items() if known.get(key, value) != value}
        self._runs.write(self.run, params=fresh, tags=changed)
        self.put("config.yaml", yaml.safe_dump(json.loads(json.dumps(config, default=str))))

    def machine(self, readings: Sequence[tuple[float, Mapping[str, float]]]) -> None:
        """Log what `Machine` read, each with its time by time.time; their step is the seconds since the study began."""
        from mlflow.entities import Metric

        found = [
            Metric(name, value, int(1000 * when), max(0, round(when - self.began / 1000)))
            for when, values in readings
            for name, value in values.items()
        ]
        for first in range(0, len(found), AT_ONCE):
            self._runs.client.log_batch(self.run, metrics=found[first : first + AT_ONCE])

    def best(self, result: Mapping[str, Any], base: TrialRecord | None, done: int) -> None:
        """Log the front's best. done: trials so far; the step, so that the latest counts."""
        best = points(study_metrics(result, base), done, None)
        self._runs.client.log_batch(self.run, metrics=best, synchronous=True)

    def front(self, result: Mapping[str, Any], base: TrialRecord | None, page: str) -> None:
        """Keep the front (JSON, CSV, table, interactive page) in place of what was there."""
        rows = front_table(result, base)
        self.put("front.json", json.dumps(result.get("front", []), indent=2))
        self.put("front.html", page)
        if not rows.empty:
            self.put("front.csv", rows.to_csv(index=False))
            self._uploads.put("front_table.json", partial(self._table, shown(rows)))

    def _table(self, rows: pd.DataFrame) -> None:
        """`log_table` appends, so a later front replaces its file."""
        client, name = self._runs.client, "front_table.json"
        if name in {artifact.path for artifact in client.list_artifacts(self.run)}:
            client.log_text(self.run, rows.to_json(orient="split", index=False), name)
        else:
            client.log_table(self.run, rows, name)
