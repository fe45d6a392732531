"""What a study writes down: a record for each trial, and the folder that holds the study.

    mlruns/studies/NAME/
      config.yaml          the study's settings and its fingerprint
      optuna.db            the candidates, asked and told (Optuna's own storage, SQLite)
      trials/0007.json     the record of trial 7: once it is there, the trial has been evaluated
      scores/0007.parquet  its per-image scores: prompt, seed, then a column for each metric that has them
      grids/0007.png       its images (of videos 0007.gif)
      confirm/parts/       what candidates got on ranges of held-out rows: per-image scores and features
      images/0007/         the same at their full size, where the study keeps all that are larger than a grid shows
      baseline.npz         the baseline's features, by metric of the set, to compare distances with
      confirm/0007.parquet the same per-image scores by prompt, category and seed
      confirm/0007/        the images that they are of, without loss: 000.webp, 001.webp, … in that order;
                           of large ones smaller ones in small/
      guardrails.parquet   the baseline under other seeds, for the bounds of the guardrails
      votes.jsonl          what people voted, a line each
      result.json          front, picks, confirmation, verdict, also of voters; the study is finished

Every file is written under a temporary name and renamed, the record of a trial last: a killed process leaves
no half file that counts.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import configs
from configs import UserError, quoted, read_yaml, shortened
from search.storage.files import replacing, write_json
from search.storage.result_file import read_result_file
from search.storage.study_lock import locked
from search.storage.trial_record import INTERRUPTED, TrialRecord

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from search.storage.image_grid import Images

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Of a study."""
NUMBER = re.compile(rb'"number": *(\d+)')
ENDED = re.compile(rb'"state": *"(COMPLETE|FAIL)"')
INTERRUPTION = re.compile(rb'"reason": *"%s"' % INTERRUPTED.encode())
"""In the text of a record; within one of its strings the quotes would have backslashes before them."""


class Counts(NamedTuple):
    """Of the trials that ended. failed: without those that a signal ended."""

    complete: int
    failed: int


class StudyFolder:
    """A study's folder and files. Constructing one writes nothing."""

    def __init__(self, mlruns: Path, name: str) -> None:
        self.name = name
        self.root = Path(mlruns).expanduser().absolute() / "studies" / name
        self.config = self.root / "config.yaml"
        self.result = self.root / "result.json"
        self.guardrails = self.root / "guardrails.parquet"
        self.features = self.root / "baseline.npz"
        self.lock = self.root / "lock"
        self.database = self.root / "optuna.db"

    @property
    def optuna_url(self) -> str:
        return f"sqlite:///{self.database}"

    def record_file(self, number: int) -> Path:
        return self.root / "trials" / f"{number:04d}.json"

    def scores_file(self, number: int) -> Path:
        return self.root / "scores" / f"{number:04d}.parquet"

    def grid_file(self, number: int) -> Path:
        still = self.root / "grids" / f"{number:04d}.png"
        running = still.with_suffix(".gif")
        return running if running.exists() else still

    def trial_image(self, number: int, row: int) -> Path:
        """A trial's image at its full size; not there unless the study keeps all."""
        return self.root / "images" / f"{number:04d}" / f"{row:03d}.webp"

    def confirm_part(self, name: str) -> Path:
        return self.root / "confirm" / "parts" / f"{name}.npz"

    def held_out_image(self, name: str, row: int) -> Path:
        """The image of a row of `read_held_out`; not there where its scores were taken over from another study."""
        return self.root / "confirm" / name / f"{row:03d}.webp"

    def write_trial(
        self, record: TrialRecord, per_image: pd.DataFrame | None = None, images: Images | None = None
    ) -> None:
        """Write the files of a trial that was evaluated here, the record last.

        per_image: columns prompt, seed, then one for each per-image metric. images: uint8 (n, 3, H, W), or
        videos (n, frames, 3, H, W). Those that are larger than a grid shows them are kept one by one, too.
        """
        self._forget_images(record.number)  # of another candidate, where a study lost its database
        if images is not None and len(images):
            from search.storage.image_grid import SIDE, save_grid, save_images

            file = self.grid_file(record.number)
            file.parent.mkdir(parents=True, exist_ok=True)
            save_grid(images, file)
            if max(max(each.shape[-2:]) for each in images) > SIDE:
                save_images(images, [self.trial_image(record.number, row) for row in range(len(images))])
        self.learn_trial(record, per_image)

    def learn_trial(self, record: TrialRecord, per_image: pd.DataFrame | None = None) -> None:
        """Write what is known of a trial that was evaluated elsewhere. Its images stay: another process may share this
        folder, and have made them."""
        if per_image is not None:
            with replacing(self.scores_file(record.number)) as temporary:
                per_image.to_parquet(temporary, index=False)
        write_json(self.record_file(record.number), record.as_dict())

    def forget_trial(self, number: int) -> None:
        """Take a trial's record and images away: the number comes to be another candidate's."""
        self.record_file(number).unlink(missing_ok=True)
        self._forget_images(number)

    def _forget_images(self, number: int) -> None:
        self.grid_file(number).unlink(missing_ok=True)
        shutil.rmtree(self.trial_image(number, 0).parent, ignore_errors=True)

    def write_features(self, features: Mapping[str, Any]) -> None:
        """The baseline's features: metric → (n, d)."""
        import numpy as np

        with replacing(self.features) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **dict(features))

    def read_features(self) -> dict[str, np.ndarray]:
        """What `write_features` wrote; empty where no metric is one of the set."""
        import numpy as np

        if not self.features.exists():
            return {}
        try:
            with np.load(self.features) as kept:
                return dict(kept)
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{self.features} can't be read ({error}): begin the study anew") from error

    def read_settings(self) -> dict[str, Any]:
        """What config.yaml holds, `fingerprint` a mapping, {} where it has none. Raises UserError."""
        found = read_yaml(self.config)
        if "model" not in found or not isinstance(found.get("trials", 0), int):
            raise UserError(
                f"{self.config} is damaged: it names no model, or no number of trials; restore the file, or begin "
                "another study with --study"
            )
        kept = found.setdefault("fingerprint", {})
        for name, each in (("fingerprint", kept), ("space", kept.get("space", {}) if isinstance(kept, dict) else {})):
            if not isinstance(each, dict):
                raise UserError(
                    f"{self.config} is damaged: its {name} is {quoted(each)}, and should be a mapping; "
                    "restore the file, or begin another study with --study"
                )
        return found

    def read_trial(self, number: int) -> TrialRecord | None:
        """The record of a trial, None where it has not been evaluated. Raises UserError where it is damaged."""
        file = self.record_file(number)
        if not file.exists():
            return None
        try:
            found = TrialRecord.from_dict(configs.read_json(file, halves=True))
            if found.number != number:
                raise ValueError(f"it is trial {found.number}'s")
            return found
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{file} is not a trial's record ({quoted(error)}): remove it and run again") from error

    def read_trials(self) -> list[TrialRecord]:
        """Every trial that ended, by number. Raises UserError where one is damaged."""
        files = {file.stem: file for file in self.root.glob("trials/[0-9]*.json")}
        numbers = sorted(int(stem) for stem in files if stem.isdecimal())
        for stem in files.keys() - {self.record_file(number).stem for number in numbers}:
            raise UserError(f"{files[stem]} is not a trial's record, by its name: remove it and run again")
        found = [record for number in numbers if (record := self.read_trial(number)) is not None]
        complete = [record for record in found if record.complete]
        for record in complete:
            if record.values.keys() != complete[0].values.keys():
                names = ", ".join(sorted(record.values.keys() ^ complete[0].values.keys()))
                raise UserError(
                    f"{self.record_file(record.number)} has other objectives than trial {complete[0].number}: {names}; "
                    "remove it and run again"
                )
        return found

    def counted(self) -> Counts:
        """How many trials ended, told from the text of their records: some 20 times as fast as `read_trials`, and
        enough for a list of studies. Raises UserError where a record is damaged so that its end can't be told."""
        complete = failed = interrupted = 0
        for file in sorted(self.root.glob("trials/[0-9]*.json")):
            with file.open("rb", 0) as stream:
                text = stream.read()
            number, ended = NUMBER.search(text), ENDED.search(text)
            whole = text.rstrip().endswith(b"}") and number is not None and file == self.record_file(int(number[1]))
            if ended is None or not whole:
                self.read_trials()  # says what is wrong
                raise UserError(f"{file} is not a trial's record: remove it and run again")
            complete += ended[1] == b"COMPLETE"
            failed += ended[1] == b"FAIL"
            interrupted += INTERRUPTION.search(text) is not None
        return Counts(complete, failed - interrupted)

    def read_scores(self, number: int) -> pd.DataFrame | None:
        """A trial's per-image scores, None where it has none. Raises UserError where they are damaged."""
        return _read_table(self.scores_file(number))

    def write_held_out_images(self, name: str, begin: int, count: int, images: Images | None) -> None:
        """Keep the images of the rows from `begin` on. images: None where not all were drawn."""
        files = [self.held_out_image(name, row) for row in range(begin, begin + count)]
        if images is None:
            for file in files:
                file.unlink(missing_ok=True)
        else:  # each takes the old one's place: another process may be writing the same here
            from search.storage.image_grid import save_images

            save_images(images, files)

    def learn_held_out(self, name: str, per_image: pd.DataFrame) -> None:
        """Keep what a candidate got on the held-out rows, in their order."""
        with replacing(self.root / "confirm" / f"{name}.parquet") as temporary:
            per_image.to_parquet(temporary, index=False)

    def read_held_out(self, name: str) -> pd.DataFrame | None:
        """Columns prompt, category, seed, and the per-image objectives; None where nothing was kept."""
        return _read_table(self.root / "confirm" / f"{name}.parquet", "prompt", "seed", "category")

    def read_result(self) -> dict[str, Any] | None:
        """What result.json holds, None where the study is not finished."""
        return read_result_file(self.result) if self.result.exists() else None

    def locked(self) -> AbstractContextManager[None]:
        """Hold the study for this process; see `search.storage.study_lock`.

        Raises:
            UserError: another process holds it.
        """
        return locked(self.lock)


def _read_table(file: Path, *columns: str) -> pd.DataFrame | None:
    """Scores image by image, None where there is no such file. columns: that it has beside them."""
    import pandas as pd
    from pyarrow.lib import ArrowException

    if not file.exists():
        return None
    try:
        found = pd.read_parquet(file)
    except (OSError, ValueError, KeyError, TypeError, ArrowException, OverflowError) as error:
        raise UserError(f"{file} is damaged ({shortened(str(error))}): remove it, and run the command again") from error
    if missing := [name for name in columns if name not in found]:
        raise UserError(f"{file} is damaged (it has no column {missing[0]}): remove it, and run the command again")
    return found


def check_name(name: str, flag: str = "") -> None:
    """Raise UserError where a study can't have that name. flag: that gave it, with its value."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"{flag or repr(name)}: a study's name has letters, digits, '.', '_' and '-', and begins with a letter or "
            "digit; name it with --study"
        )


def studies(mlruns: Path) -> list[str]:
    """The names of the studies in a results folder."""
    folder = Path(mlruns).expanduser().absolute() / "studies"
    return sorted(file.parent.name for file in folder.glob("*/config.yaml"))
