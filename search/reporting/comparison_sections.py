"""What a page of two studies shows: their verdicts, and the differences between their picks of the same name."""

from __future__ import annotations

from typing import Any

from search.reporting.study_comparison import compared, side
from search.storage import StudyFolder
from search.study.verdict import COUNTS
from search.terminal.study_status import finished
from search.voting import booth, wording


def sections(a: StudyFolder, b: StudyFolder) -> dict[str, Any]:
    """The template's variables. Raises UserError where the two don't compare."""
    found = compared(side(a), side(b))
    for row in found["rows"]:
        row["error"] = None if row["low"] is None else (row["high"] - row["low"]) / 4
        gain = row["difference"] if row["direction"] == "up" else -row["difference"]
        row["kind"] = "unclear" if not row["counts"] else "better" if gain > 0 else "worse"
    studies = []
    for name, folder in zip("ab", (a, b), strict=True):
        result = finished(folder)
        verdicts = wording.verdicts(result, booth.told(folder, result))
        studies.append({"letter": name.upper(), **found[name], "verdicts": verdicts})
    return {"studies": studies, "rows": found["rows"], "note": found["note"], "counts": COUNTS}
