"""A pick against its rival, the tuned baseline: what FreeU adds to the best that could be had without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freeu import Sampling

Rows = Mapping[str, Mapping[str, Any]]


def named(sampling: Sampling) -> str:
    """Sampling settings for people, as "guidance 4, 20 steps"."""
    found = dict(sampling.as_dict())
    steps = found.pop("steps", None)
    parts = [
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
        for name, value in found.items()
    ]
    return ", ".join([*parts, *([f"{steps} steps"] if steps else [])])


def sentence(better: Sequence[str], worse: Sequence[str], rows: Rows, rival: str, own: str) -> str:
    """The verdict's first sentence where a pick is better than the baseline. better, worse: the objectives in which it
    measurably is so than its rival. own: the study's sampling settings.
    """
    if better and not worse:
        gains = _joined([f"{rows[name]['difference']:+.3g} in {name}" for name in better])
        return f"FreeU adds {gains} over the best guidance alone ({rival})."
    if better:
        gains, losses = (
            _joined([f"{rows[name]['difference']:+.3g} in {name}" for name in each]) for each in (better, worse)
        )
        return f"FreeU helps at {own}; against the best guidance alone ({rival}) it trades {gains} for {losses}."
    if worse:
        losses = _joined([f"{rows[name]['difference']:+.3g} in {name}" for name in worse])
        return f"FreeU helps at {own}, but {rival} without it does better: against that it is {losses}."
    return f"FreeU helps at {own}, but {rival} without it does as well, as far as could be seen."


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
