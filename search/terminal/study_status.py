"""The state of a study: how far it is, and its verdict."""

from __future__ import annotations

import fcntl
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from configs import UserError
from configs.cli import typed
from search.storage import StudyFolder, TrialRecord


@dataclass(frozen=True)
class Standing:
    """state: "running" (a process of this machine holds it), "finished", "unfinished", or "damaged", which `verdict`
    then explains. trials: complete ones that it is to have. changed: when a trial or the result was written, UTC."""

    study: str
    state: str
    model: str = ""
    complete: int = 0
    failed: int = 0
    trials: int = 0
    objectives: tuple[str, ...] = ()
    verdict: str = ""
    changed: str = ""


def standing(folder: StudyFolder) -> Standing:
    """A study's state, read from its files. Damaged files are a state, and raise nothing."""
    try:
        config, counts, result = folder.read_settings(), folder.counted(), folder.read_result()
        finished = result is not None and result["trials"] == counts.complete
        return Standing(
            folder.name,
            "running" if running(folder) else "finished" if finished else "unfinished",
            str(config.get("model", "")),
            *counts,
            int(config.get("trials", 0)),
            tuple(map(str, config.get("objectives") or ())),
            str(result["verdict"]) if result is not None and finished else "",
            _changed(folder),
        )
    except (UserError, OSError, KeyError, TypeError, ValueError) as error:
        reason = str(error) if isinstance(error, UserError | OSError) else f"{error!r} in its files"
        return Standing(folder.name, "damaged", verdict=reason)


def running(folder: StudyFolder) -> bool:
    """Whether a process of this machine holds the study."""
    try:
        with folder.lock.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def finished(folder: StudyFolder) -> Mapping[str, Any]:
    """The result, as result.json holds it. Raises UserError where the study has none yet."""
    result = folder.read_result()
    if result is None:
        raise UserError(
            f"study '{folder.name}' is not finished: run the command that began it again to resume; "
            f"`{typed('show')} {folder.name}` shows how far it is"
        )
    return result


def of_result(records: Sequence[TrialRecord], result: Mapping[str, Any]) -> tuple[list[TrialRecord], str]:
    """The trials that a result is of, and a note where that is not all, as after a larger --trials was interrupted;
    else the note is "".

    result: as result.json holds it. It says how many complete trials it is of: these are the baseline, which goes
    before all, those that it names, and then the first by number. A failed one counts where it comes before the first
    complete one that is left out.
    """
    done = [record for record in records if record.complete]
    if len(done) == result["trials"]:
        return list(records), ""
    named = {each["number"] for each in (*result["front"], *result["picks"])}
    done.sort(key=lambda record: (not record.candidate.baseline and record.number not in named, record.number))
    since = {record.number for record in done[result["trials"] :]}
    end = min(since, default=math.inf)
    kept = [record for record in records if (record.number not in since if record.complete else record.number < end)]
    return kept, f"from the first {result['trials']} trials; {len(done)} are complete by now"


def _changed(folder: StudyFolder) -> str:
    files = [folder.config, folder.result, folder.root / "trials"]  # a folder changes as a file comes into it
    latest = max(file.stat().st_mtime for file in files if file.exists())
    return datetime.fromtimestamp(latest, UTC).isoformat(timespec="seconds")
