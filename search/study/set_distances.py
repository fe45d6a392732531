"""How much of a distance of sets is bias: what so many real images score, beside what the baseline does.

A Fréchet distance of few images is mostly bias: it is the same for all at equal n, so differences hold, but the number
itself says little. Kernel distances (KID, CMMD) are unbiased: real images score 0 on average at any n.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.evaluation import Evaluators, OnImages


@dataclass(frozen=True)
class Floors:
    """The job of measuring the floor of each metric of the set at n images, where the metrics are: name → value; 0.0
    for an unbiased one, None where the reference holds too few features to tell.
    """

    n: int

    def __call__(self, held: Evaluators, on_images: OnImages) -> dict[str, float | None]:
        evaluator = held.by_purpose["confirm"]
        metrics: dict[str, Any] = {name: each for name, each in evaluator.metrics.items() if not each.per_image}
        found: dict[str, float | None] = {}
        for name, metric in metrics.items():
            if getattr(metric, "unbiased", False):
                found[name] = 0.0
            elif hasattr(metric, "floor_at"):
                found[name] = metric.floor_at(self.n * evaluator.frames)
        return found


def told(floors: Mapping[str, float | None], n: int, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """result.json's `set_distances`: by metric n, the baseline's value and the floor. rows: of a finalist."""
    return {name: {"n": n, "base": rows[name]["base"], "floor": each} for name, each in floors.items() if name in rows}


def lines(result: Mapping[str, Any]) -> list[str]:
    """A sentence for each distance of sets of a result, for the terminal and the report."""
    return [_line(name, each) for name, each in result.get("set_distances", {}).items()]


def _line(name: str, found: Mapping[str, Any]) -> str:
    base, floor = found["base"], found["floor"]
    said = f"{name} at n = {found['n']}: the baseline scores {base:.4g}, "
    if floor is None:
        return said + "and the reference is too small to tell how much of that is bias; differences at one n hold."
    if floor == 0:
        return said + "and real images 0 on average, as it is unbiased; it is noisy all the same."
    if floor >= base:
        return said + f"and real images {floor:.4g}, no less: it tells little at this n; compare at equal n only."
    share = f"{100 * floor / base:.0f} %"
    return said + f"real images {floor:.4g} (the floor), so {share} of that is bias; compare at equal n only."
