"""The end of a study: front, picks, finalists and their rivals, the confirmation, and the result that says it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from search.settings import rungs
from search.storage import shared_trials
from search.study import confirmation, looks, set_distances
from search.study.fewer_steps import made
from search.study.held_out import BASE, HeldOut, rows_of
from search.workers import done

if TYPE_CHECKING:
    from search.study.budget import Budget
    from search.study.coordinator import Coordinator
    from search.study.ladder import Shifts
    from search.study.plan import Plan
    from search.workers import Crew


def concluded(
    study: Coordinator,
    plan: Plan,
    crew: Crew,
    identity: str,
    budget: Budget,
    shifts: Shifts | None,
    *,
    began: Callable[[str, int, int, int], None],
    said: Callable[[str], None],
) -> dict[str, Any]:
    """`result`, as result.json holds it; beside it, for the machines that share the study, `held_out`: the packed
    held-out scores by candidate.

    identity: of the model's weights. shifts: the guardrails, where they are on. began: told (what, images, images after
    these in this look, images of all looks at most) before each range of held-out images.
    """
    from search.optimizer.pareto_front import find
    from search.study.result import assembled

    job, config, folder = plan.job, plan.job.config, plan.job.folder
    complete = [record for record in study.records() if record.complete]
    front = find(complete, job.directions, job.space)
    picked = confirmation.finalists(front.picks, complete, front, job.directions, config.finalists, len(job.held_out))
    rivals = confirmation.rivals_of(picked, front, complete)
    drawn = picked | dict(rivals.values())
    images = sum(made(record) for record in complete)
    rows = looks.ends(plan.once(images), len(job.held_out), 1 + len(drawn), budget.left(complete, most=images))
    planned = looks.planned(study.trials.kept, study.trials.once, drawn, rows) if picked else None
    found = confirmation.Confirmed()
    if planned is not None:
        most = (1 + len(drawn)) * planned.ends[-1]
        held_out = HeldOut(
            folder,
            crew,
            rows_of(job.held_out, planned.ends[-1], config.seed, planned.number),
            workers=config.workers,
            block=rungs.block(study.rungs, config.workers),
            shared=study.storage.shared,
            began=lambda what, images, left: began(what, images, left, most),
            failed=lambda number, reason: said(f"trial {number} could not be confirmed: {reason}"),
            categories=job.categories,
            judges=tuple(job.judges),
        )
        objectives, judges = tuple(job.directions), tuple(job.judges)
        by_person = config.judge == "person"
        found = confirmation.confirm(
            held_out, picked, objectives, planned, config.seed, rivals, judges, at_once=by_person
        )
    compared = [*found.rows, *(rivals[number][0] for number in found.against)]
    names = (BASE, *(f"{number:04d}" for number in compared))
    tables = {name: table for name in names if (table := folder.read_held_out(name)) is not None}
    moved, searched = dict[int, dict[str, float]](), study.trials.baseline()
    if shifts is not None and searched is not None and searched.per_image is not None and BASE in tables:
        whole = searched.per_image
        moved = {number: shifts(tables[f"{number:04d}"], tables[BASE], whole) for number in found.rows}
    result = assembled(job, identity, complete, front, found, list(picked), planned, moved, rivals)
    if found.rows:
        number, n = next(iter(found.rows)), found.looks[-1]["images"]
        of_finalist = found.rows[number] | found.judged.get(number, {})
        result["set_distances"] = set_distances.told(done(crew, set_distances.Floors(n)), n, of_finalist)
    packed = {name: shared_trials.packed_table(table) for name, table in tables.items() if study.storage.shared}
    return {"result": result, "held_out": packed}
