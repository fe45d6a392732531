"""What a study reads, as MLflow's dataset inputs: the base model, the prompt sets, the reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput


@dataclass(frozen=True)
class Input:
    """One of them. context: what it is for, as "base model". digest: at most 36 characters, the same for the same
    content. profile: numbers that tell it, as how many prompts."""

    context: str
    name: str
    digest: str
    source: str
    profile: Mapping[str, Any] = field(default_factory=dict)


def datasets(inputs: Sequence[Input]) -> list[DatasetInput]:
    """As MLflow has them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=each.name[:500],
                digest=each.digest[:36],
                source_type="local",
                source=json.dumps({"uri": each.source}),
                profile=json.dumps(dict(each.profile)),
            ),
            [InputTag("mlflow.data.context", each.context)],
        )
        for each in inputs
    ]
