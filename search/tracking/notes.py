"""The words of MLflow's pages: the names of runs, and the descriptions of the experiment and of a trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search.study import rival
from search.tracking.tables import trial_metrics

if TYPE_CHECKING:
    from search.storage import TrialRecord

EXPERIMENT_NOTE = """\
Studies of FreeU: each is a run named as the study, and each of its trials a run below it.

- A study: `clip` is what the model expects of the front's best, `clip.baseline` the baseline's (FreeU off), and
  `clip.difference`, `.low`, `.high`, `.p_holm` are what the verdict goes by, on held-out prompts and seeds; those of
  a judge are `kid.difference` and so on. Its artifact `front.html` is the front.
- A trial: `clip` is its score on the search's own prompts, `clip.difference` that minus the baseline's, and
  `clip.difference.se` one standard error of it. Picks have `held_out/clip` too, and `held_out/clip.rival.difference`
  to FreeU off at the guidance scale that is hardest to beat. `judges/kid.difference` is the same of a judge, which the
  search never read. `rank` is 1 on the front, 2 where it would be if the front were not there, and so on.
- Find the trials of a study by `tags.study = 'NAME'`, those of a model by `params.model = 'sdxl'`, the front by
  ``tags.`freeu.front` = 'yes'``.
"""
STUDY_NOTE = "No verdict yet: the study is not finished. Its charts and its artifact `front.html` grow while it runs."


def trial_name(record: TrialRecord, picks: str = "") -> str:
    """A run's name, which differs from the others' at its beginning: "#07 knee, best-clip", "#01 published",
    "#03 FreeU off, guidance 4", else with its factors. picks: what it was picked as."""
    f, candidate = record.factors, record.candidate
    what = f"{f.b1:.2f} {f.b2:.2f} {f.s1:.2f} {f.s2:.2f}"
    if candidate.off:
        what = "baseline" if candidate.baseline else f"FreeU off, {rival.named(candidate.sampling)}"
    origin = what if candidate.off else record.origin if record.origin == "published" else ""
    said = ", ".join(part for part in (origin, picks) if part)
    return f"#{record.number:02d} {said or what}"


def trial_note(record: TrialRecord, base: TrialRecord | None, picks: Sequence[Mapping[str, Any]] = ()) -> str:
    """A trial's description: why it failed, or its differences to the baseline. picks: what it was picked as, as
    result.json has them."""
    if record.reason is not None:
        return record.reason
    found = trial_metrics(record, base)
    differences = []
    for name in record.values:
        if (difference := found.get(f"{name}.difference")) is not None:
            error = found[f"{name}.difference.se"]
            differences.append(f"{name} {difference:+.3g}" + (f" ± {error:.2g}" if math.isfinite(error) else ""))
    said = [f"Proposed by {record.origin}, scored on {record.images} prompts."]
    if record.candidate.baseline:
        said = [f"The baseline (FreeU off), scored on {record.images} prompts."]
    if differences:
        said.append(f"Minus the baseline: {', '.join(differences)}.")
    if not record.feasible:
        said.append("Out of the guardrails' bounds.")
    if picks:
        said.append(f"Picked as {', '.join(pick['pick'] for pick in picks)}.")
        scores = picks[0].get("scores", {})
        shown = ", ".join(f"{name} {_interval(score)}" for name, score in scores.items())
        said += [f"On held-out prompts, minus the baseline: {shown}."] if shown else []
        judged = ", ".join(f"{name} {_interval(score)}" for name, score in picks[0].get("judges", {}).items())
        said += [f"Judges, which the search never read: {judged}."] if judged else []
        if (against := rival.of_pick(picks[0])) is not None:
            shown = ", ".join(f"{name} {_interval(score)}" for name, score in against["scores"].items())
            said.append(f"Minus its rival, FreeU off at {against['named']} (trial {against['number']}): {shown}.")
    return " ".join(said)


def _interval(score: Mapping[str, Any]) -> str:
    if score.get("low") is None:
        return f"{score['difference']:+.3g}"
    return f"{score['difference']:+.3g} [{score['low']:+.3g}, {score['high']:+.3g}]"
