"""A pick against its rival, the tuned baseline: what FreeU adds to the best that could be had without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from freeu import Sampling
from freeu.presets.sampled import worded

Rows = Mapping[str, Mapping[str, Any]]


def named(sampling: Sampling) -> str:
    """Sampling settings for people, as "guidance 4, 20 steps"."""
    return ", ".join(worded(sampling).values())


def of_pick(pick: Mapping[str, Any]) -> dict[str, Any] | None:
    """A finalist's rival: number, sampling, scores (the finalist against it), named (the settings in which it is not as
    the study). None where the baseline is the rival. pick: as result.json holds it.
    """
    against = pick.get("against", {})
    if "tuned_baseline" not in against:
        return None
    rival = against["tuned_baseline"]
    return {**rival, "named": apart(rival["sampling"], against["baseline"]["sampling"])}


def compared(picks: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """All comparisons of picks, as result.json has them: to the baseline and to rivals, of objectives and judges."""
    for side in (*picks, *filter(None, map(of_pick, picks))):
        for kind in ("scores", "judges"):
            yield from side.get(kind, {}).values()


def apart(sampling: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """The settings in which one is not as the study's own, for people."""
    return named(Sampling.from_dict({name: value for name, value in sampling.items() if value != own.get(name)}))


def sentence(better: Sequence[str], worse: Sequence[str], rows: Rows, rival: str, own: str) -> str:
    """The verdict's first sentence where a pick is better than the baseline, and worse in nothing. better, worse: the
    objectives in which it measurably is so than its rival. own: the study's sampling settings.
    """
    if better and not worse:
        gains = joined([f"{rows[name]['difference']:+.3g} in {name}" for name in better])
        return f"FreeU adds {gains} over the best guidance alone ({rival})."
    if better:
        gains, losses = (
            joined([f"{rows[name]['difference']:+.3g} in {name}" for name in each]) for each in (better, worse)
        )
        return f"FreeU helps at {own}; against the best guidance alone ({rival}) it trades {gains} for {losses}."
    if worse:
        losses = joined([f"{rows[name]['difference']:+.3g} in {name}" for name in worse])
        return f"FreeU helps at {own}, but {rival} without it does better: against that it is {losses}."
    return f"FreeU helps at {own}, but {rival} without it does as well, as far as could be seen."


def trade(better: Sequence[str], worse: Sequence[str], rows: Rows, rival: str) -> str:
    """What is said of the rival where a pick is better than the baseline in something and worse in something."""
    sides = {"better by": better, "worse by": worse}
    told = [
        how + " " + joined([f"{rows[name]['difference']:+.3g} in {name}" for name in names])
        for how, names in sides.items()
        if names
    ]
    if not told:
        return f" The best guidance alone ({rival}) is as good, as far as could be seen."
    return f" Against the best guidance alone ({rival}) it is {joined(told)}."


def joined(parts: Sequence[str]) -> str:
    """As "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
