"""What `--goal` stands for: sets of objectives and judges by purpose, of configs/goals.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs import path, read_yaml

if TYPE_CHECKING:
    from freeu.models import ModelSpec
    from search.settings.config import StudyConfig


def with_goal(config: StudyConfig, spec: ModelSpec) -> StudyConfig:
    """The settings with the objectives and judges of their goal where they have none; the model's objectives where
    there is no goal. A model's own judges stand before a goal's.
    """
    goal = read_yaml(path("goals.yaml"))[config.goal] if config.goal is not None else {}
    objectives = config.objectives or tuple(goal.get("objectives", spec.objectives))
    judges = config.judges
    if judges is None and spec.judges is None and goal:
        judges = tuple(name for name in goal["judges"] if name not in objectives) or None
    return config.model_copy(update={"objectives": objectives, "judges": judges})
