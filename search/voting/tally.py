"""What votes say: win rates, strengths, agreement between voters, with oneself, and of each metric with the people.

A win rate is the mean of 1 (the finalist is preferred), 0 and 0.5 (a tie), and prompts are what changes sign together,
as in all paired differences (metrics/stats.py): votes on one prompt are not independent, whoever casts them.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from search.storage import StudyFolder
from search.voting.ballots import Cast, Vote
from search.voting.bradley_terry import strengths
from search.voting.comparisons import Comparison, image_digest
from search.voting.looks import FRACTIONS, LEVEL, levels

FLIPS = 2**14 - 1


def decided(votes: Sequence[Vote], planned: int, ended: bool, count: int) -> dict[str, Any]:
    """One comparison at its looks: look (1 to 3, None before the first), p (corrected for the looks), stopped.

    votes: on it, in the order they were cast. count: of comparisons, which share the error. p times count, where it is
    below 5 %, is what stops a comparison early; at the end Holm's method takes p.
    """
    level = LEVEL / count
    nominal = levels(level)
    for look, fraction in enumerate(FRACTIONS[:-1]):
        if planned and len(votes) >= (n := math.ceil(fraction * planned)):
            p = _p(votes[:n]) * level / nominal[look]
            if p < level:
                return {"look": look + 1, "p": p, "stopped": True}
    if not ended or not votes:
        return {"look": None, "p": None, "stopped": False}
    return {"look": len(FRACTIONS), "p": min(1.0, _p(votes) * level / nominal[-1]), "stopped": False}


def counted(
    folder: StudyFolder, cast: Cast, comparisons: Sequence[Comparison], study: str
) -> tuple[list[Vote], list[str]]:
    """(the votes that count, why others don't). A vote is on two images: where they have changed since, it is on
    nothing that is here; where they are gone, their names stand for them."""
    tables = {each.name: each.tables[0] for each in comparisons}
    kept, reasons = [], Counter[str]()
    for vote in cast.votes.values():
        table = tables.get(f"{vote.finalist}/{vote.against}")
        files = [folder.held_out_image(name, vote.row) for name in (vote.finalist, vote.against)]
        now = [image_digest(file) for file in files]
        if vote.study != study:
            reasons["of another study"] += 1
        elif table is None:
            reasons["of a candidate that is no finalist now"] += 1
        elif vote.row >= len(table) or (table["prompt"].iloc[vote.row], table["seed"].iloc[vote.row]) != (
            vote.prompt,
            vote.seed,
        ):
            reasons["of other prompts"] += 1
        elif any(digest and digest != before for digest, before in zip(now, vote.images, strict=True)):
            reasons["of images that have changed since"] += 1
        else:
            kept.append(vote)
    told = [f"{n} vote{'s' * (n > 1)} {reason}" for reason, n in reasons.items()]
    if cast.unread:
        told.append(f"{cast.unread} line{'s' * (cast.unread > 1)} that can't be read")
    return kept, told


def tally(
    folder: StudyFolder,
    cast: Cast,
    comparisons: Sequence[Comparison],
    study: str,
    directions: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that votes say, as plain data for JSON; scores are there once `over`.

    study: `comparisons.stamp`. directions: of the objectives.
    """
    votes, left_out = counted(folder, cast, comparisons, study)
    fresh = [vote for vote in votes if not vote.again]
    planned = cast.planned or 0
    rows = []
    for each in comparisons:
        own = [vote for vote in fresh if (vote.finalist, vote.against) == (each.finalist, each.against)]
        rows.append((each, own, decided(own, planned, cast.ended is not None, len(comparisons))))
    over = bool(rows) and (cast.ended is not None or all(found["stopped"] for _, _, found in rows))
    told: dict[str, Any] = {
        "voters": sorted({vote.voter for vote in votes}),
        "votes": len(fresh),
        "ties": sum(vote.choice == "tie" for vote in fresh),
        "repeats": len(votes) - len(fresh),
        "planned": planned,
        "over": over,
        "left_out": left_out,
        "comparisons": [
            {
                **{"finalist": int(each.finalist), "against": each.against, "votes": len(own)},
                **{"label": each.label, "other": each.other},
            }
            for each, own, _ in rows
        ],
    }
    if not over or not fresh:
        return told
    _corrected(told["comparisons"], rows)
    told["strengths"] = strengths(fresh, _labels(comparisons))
    told["between"] = _between(fresh)
    told["self"] = _with_oneself(votes)
    told["metrics"] = _metrics(fresh, comparisons, directions)
    return told


def _labels(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """Of all candidates, by their names."""
    return {each.against: each.other for each in comparisons} | {each.finalist: each.label for each in comparisons}


def closed(folder: StudyFolder, cast: Cast, comparisons: Sequence[Comparison], study: str) -> set[str]:
    """The comparisons that take no more votes, as a look has stopped them."""
    votes = [vote for vote in counted(folder, cast, comparisons, study)[0] if not vote.again]
    by_name = {each.name: [v for v in votes if each.name == f"{v.finalist}/{v.against}"] for each in comparisons}
    count, planned = len(comparisons), cast.planned or 0
    return {name for name, own in by_name.items() if decided(own, planned, False, count)["stopped"]}


def _corrected(
    told: list[dict[str, Any]], rows: Sequence[tuple[Comparison, Sequence[Vote], Mapping[str, Any]]]
) -> None:
    """Add each comparison's win rate, interval and p, corrected by Holm's method."""
    from metrics import stats

    ps = [1.0 if found["p"] is None else found["p"] for _, _, found in rows]
    for row, (_, own, found), p in zip(told, rows, stats.holm(ps), strict=True):
        if not own:
            continue
        rate = share([vote.score for vote in own], [vote.prompt for vote in own])
        row |= rate | {"p": found["p"], "p_holm": float(p), "look": found["look"], "stopped": found["stopped"]}
        row |= {
            "wins": sum(vote.score == 1 for vote in own),
            "losses": sum(vote.score == 0 for vote in own),
            "ties": sum(vote.score == 0.5 for vote in own),
            "sure": bool(p < LEVEL),
        }


def share(values: Sequence[float], clusters: Sequence[str]) -> dict[str, Any]:
    """The mean of values from 0 to 1 with its 95 % interval by clusters: share, low, high (None below 6), n."""
    from metrics import stats

    pair = stats.paired(np.array(values), np.full(len(values), 0.5), clusters, np.random.default_rng(0), FLIPS)
    ends = {"low": max(0.0, pair.low + 0.5), "high": min(1.0, pair.high + 0.5)} if math.isfinite(pair.low) else {}
    return {"share": pair.mean + 0.5, "low": None, "high": None, "n": len(values), "prompts": pair.clusters} | ends


def _p(votes: Sequence[Vote]) -> float:
    return _sign_flips(tuple(vote.score for vote in votes), tuple(vote.prompt for vote in votes))


@lru_cache(maxsize=256)  # a look stays what it was while votes come in
def _sign_flips(scores: tuple[float, ...], prompts: tuple[str, ...]) -> float:
    from metrics import stats

    return float(stats.paired(np.array(scores), np.full(len(scores), 0.5), prompts, np.random.default_rng(0), FLIPS).p)


def _alike(a: float, b: float) -> float:
    """1 for the same choice, 0 for the opposite one, 0.5 where one of them is a tie."""
    return 1 - abs(a - b)


def _between(fresh: Sequence[Vote]) -> dict[str, Any] | None:
    """How often two voters chose alike on a pair that both saw; None where there is no such pair."""
    by_pair: dict[str, list[Vote]] = defaultdict(list)
    for vote in fresh:
        by_pair[vote.key].append(vote)
    both = [(a, b) for seen in by_pair.values() for a, b in combinations(seen, 2)]
    return share([_alike(a.score, b.score) for a, b in both], [a.prompt for a, _ in both]) if both else None


def _with_oneself(votes: Collection[Vote]) -> dict[str, Any] | None:
    """How often a voter chose alike when a pair came again, mirrored."""
    first = {(vote.voter, vote.key): vote for vote in votes if not vote.again}
    repeats = [vote for vote in votes if vote.again]
    both = [(vote, found) for vote in repeats if (found := first.get((vote.voter, vote.key.removesuffix("/again"))))]
    return share([_alike(a.score, b.score) for a, b in both], [a.prompt for a, _ in both]) if both else None


def _metrics(
    fresh: Sequence[Vote], comparisons: Sequence[Comparison], directions: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Per-image metric → how often it preferred the image that the voter did; ties of the voter are left out, those of
    the metric count half."""
    tables = {each.name: each.tables for each in comparisons}
    found = {}
    for name, way in directions.items():
        agreed, prompts = [], []
        for vote in fresh:
            own, other = tables[f"{vote.finalist}/{vote.against}"]
            if name not in own or vote.choice == "tie":
                continue
            gain = (own[name].iloc[vote.row] - other[name].iloc[vote.row]) * (1 if way == "up" else -1)
            agreed.append(_alike(vote.score, (float(np.sign(gain)) + 1) / 2))
            prompts.append(vote.prompt)
        if agreed:
            found[name] = share(agreed, prompts)
    return found
