"""What `--goal` stands for: sets of objectives and judges by purpose, of configs/goals.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs import path, read_yaml

if TYPE_CHECKING:
    from freeu.models import ModelSpec

Names = tuple[str, ...]


def resolved(
    goal: str | None, objectives: Names | None, judges: Names | None, spec: ModelSpec
) -> tuple[Names, Names | None]:
    """(objectives, judges): those asked for, else the goal's; where there is no goal the model's objectives. A model's
    own judges stand before a goal's.
    """
    sets = read_yaml(path("goals.yaml"))[goal] if goal is not None else {}
    found = objectives or tuple(sets.get("objectives", spec.objectives))
    if judges is None and spec.judges is None and sets:
        judges = tuple(name for name in sets["judges"] if name not in found) or None
    return found, judges
