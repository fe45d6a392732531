"""A study's result, assembled for result.json; `search.session` writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from configs import UserError
from freeu import Candidate
from search.storage.result_file import candidate_of
from search.study.reproduce import versions
from search.study.rival import named
from search.study.verdict import Judges, Rivals, Verdict, moved_too_far, verdict

if TYPE_CHECKING:
    from search.optimizer.dimension import Dimension
    from search.optimizer.pareto_front import Front
    from search.optimizer.space import Space
    from search.settings.job import Job
    from search.storage import StudyFolder, TrialRecord
    from search.study.confirmation import Confirmed
    from search.study.looks import Looks

NEAR = 0.01
"""Share of a range: a factor this near to its edge counts as at the edge."""
WIDEST = dict.fromkeys(("stop", "smooth", "offset", "width", "threshold"), 1)
"""Edges beyond which no value is possible, so they are not worth a word."""


def assembled(
    job: Job,
    identity: str,
    done: Sequence[TrialRecord],
    front: Front,
    confirmed: Confirmed,
    order: Sequence[int],
    plan: Looks | None = None,
    moved: Mapping[int, Mapping[str, float]] | None = None,
    rivals: Mapping[int, tuple[int, Candidate]] | None = None,
) -> dict[str, Any]:
    """result.json's content. done: the complete trials; order: the finalists, the most promising first; plan: of their
    confirmation; moved: their guardrails on the held-out images, rivals: their tuned baselines, by trial number.
    """
    found, moved, rivals = confirmed.rows, moved or {}, rivals or {}
    said = _verdict(job, done, front, confirmed, len(order), plan, rivals)
    by_number = {record.number: record for record in done}
    picks = [
        {
            "pick": pick.name,
            "number": pick.number,
            "factors": by_number[pick.number].factors.as_dict(),
            "sampling": _told(job, job.space.settings(by_number[pick.number].candidate)),
            "scores": dict(found.get(pick.number, {})),
            "judges": dict(confirmed.judged.get(pick.number, {})),
            "against": _against(job, confirmed, pick.number, rivals),
            "guardrails": dict(moved.get(pick.number, {})),
        }
        for pick in front.picks
    ]
    return {
        "study": job.config.name,
        "model": job.spec.name,
        "model_identity": identity,
        "steps": job.steps,
        "guidance": job.guidance,
        "trials": len(done),
        "objectives": job.directions,
        "judges": dict(job.judges),
        "sampling": _told(job, job.sampling.as_dict()),
        "tuned_baselines": [
            _row(one, front, job.directions, job.space)
            for one in done
            if one.candidate.off and not one.candidate.baseline
        ],
        "baseline": next((_row(one, front, job.directions, job.space) for one in done if one.candidate.baseline), None),
        "front": front_rows(done, front, job.directions, job.space),
        "picks": sorted(picks, key=lambda pick: not pick["scores"]),  # the finalists before all
        "versions": versions(),
        "finalists": list(order),
        "confirmation": None if plan is None else _recorded(plan, confirmed),
        "verdict": said.text + moved_too_far(moved),
        "take_away": next((pick.name for pick in front.picks if pick.number == said.number), None),
        "ends": at_the_ends(job.space, picks),
    }


def _told(job: Job, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sampling settings as other tools have to be told them."""
    from freeu.models import fits

    given = {"scheduler": fits.with_schedule(settings["scheduler"], job.spec)} if settings.get("scheduler") else {}
    return {**settings, **given}


def _against(
    job: Job, confirmed: Confirmed, number: int, rivals: Mapping[int, tuple[int, Candidate]]
) -> dict[str, Any]:
    """What a finalist was compared with: the baseline, and its rival if that is another one."""
    found: dict[str, Any] = {}
    if number in confirmed.rows:
        found["baseline"] = {"sampling": job.sampling.as_dict(), "scores": dict(confirmed.rows[number])}
    if number in confirmed.against:
        rival, candidate = rivals[number]
        sampling, scores = job.space.settings(candidate), dict(confirmed.against[number])
        judges = dict(confirmed.judged_against.get(number, {}))
        found["tuned_baseline"] = {"number": rival, "sampling": sampling, "scores": scores, "judges": judges}
    return found


def _row(record: TrialRecord, front: Front, directions: Mapping[str, str], space: Space) -> dict[str, Any]:
    return {
        "number": record.number,
        "origin": record.origin,
        "factors": record.factors.as_dict(),
        "sampling": space.settings(record.candidate),
        **{name: record.values[name].value for name in directions},
        "expected": {name: front.expected[name][record.number] for name in directions},
        "errors": {name: _finite(record.values[name].paired) for name in directions},
    }


def front_rows(
    done: Sequence[TrialRecord], front: Front, directions: Mapping[str, str], space: Space
) -> list[dict[str, Any]]:
    """result.json's front. done: the complete trials."""
    by_number = {record.number: record for record in done}
    return [_row(by_number[number], front, directions, space) for number in front.numbers]


def so_far(folder: StudyFolder) -> dict[str, Any]:
    """As result.json's content, of a study that is not finished: its objectives, the front and the picks as they stand
    now, by the search's own scores, and no verdict.

    Raises UserError where no trial is complete yet.
    """
    from search.optimizer import pareto_front, space_file

    config, records = folder.read_settings(), folder.read_trials()
    done = [record for record in records if record.complete]
    if not done:
        raise UserError(f"study '{folder.name}' has no complete trial yet: there is nothing to report")
    directions = {name: value.direction for name, value in done[0].values.items()}
    try:
        space = space_file.kept(config["fingerprint"].get("space", {}))
    except UserError:  # sampling settings alone are searched
        space = space_file.default()
    rows, picks = list[dict[str, Any]](), list[dict[str, Any]]()
    if pareto_front.candidates(done):
        front = pareto_front.find(done, directions, space)
        rows = front_rows(done, front, directions, space)
        factors = {record.number: record.factors.as_dict() for record in done}
        picks = [{"pick": x.name, "number": x.number, "factors": factors[x.number], "scores": {}} for x in front.picks]
    verdict = (
        f"So far: {len(done)} of {config.get('trials')} trials are complete. There is no verdict before the finalists "
        "are confirmed on held-out prompts."
    )
    return {
        "study": folder.name,
        "model": config.get("model", ""),
        "trials": len(done),
        "objectives": directions,
        "front": rows,
        "picks": picks,
        "verdict": verdict,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _at(space: Space, dimension: Dimension, candidate: Candidate, share: float) -> bool:
    """Whether a dimension that applies to the candidate is at that share (0 to 1) of its range."""
    in_force = dimension.name in space.needed(space.params(candidate))
    return in_force and abs(dimension.unit(space.value_of(candidate, dimension.name)) - share) < NEAR


def at_the_ends(space: Space, picks: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on picks at the edge of a searched range; empty if there are none."""
    found = []
    for each in space.dimensions:
        for share, end in ((0.0, each.low), (1.0, each.high)):
            if each.choices or end in (0, WIDEST.get(each.name)):  # nothing lies beyond
                continue
            names = [pick["pick"] for pick in picks if _at(space, each, candidate_of(pick), share)]
            if names:
                found.append(f"{each.name} {end:g} ({', '.join(names)})")
    beyond = "Better values may lie beyond it; --space FILE widens the ranges."
    return f"At the edge of the searched range: {'; '.join(found)}. {beyond}" if found else ""


def _verdict(
    job: Job,
    done: Sequence[TrialRecord],
    front: Front,
    confirmed: Confirmed,
    picked: int,
    plan: Looks | None,
    rivals: Mapping[int, tuple[int, Candidate]],
) -> Verdict:
    if all(record.candidate.off for record in done):
        return Verdict(
            "Only the baseline was tried, so nothing is known of FreeU here. Give more --trials or --minutes."
        )
    tried = [record for record in done if not record.candidate.off]
    ruled_out = 0 if any(record.feasible for record in tried) else len(tried)
    level = {} if plan is None else {"level": plan.level}
    names = {number: named(candidate.sampling) for number, (_, candidate) in rivals.items()}
    over = Rivals(confirmed.against, names, f"guidance {job.guidance:g}")
    found, margins = confirmed.rows, job.config.margins
    judges = Judges(job.judges, confirmed.judged, confirmed.judged_against)
    return verdict(
        front.picks, found, job.directions, picked, ruled_out, margins=margins, rivals=over, judges=judges, **level
    )


def _recorded(plan: Looks, confirmed: Confirmed) -> dict[str, Any]:
    return {"number": plan.number, "level": plan.level, "planned": list(plan.ends), "looks": confirmed.looks}
