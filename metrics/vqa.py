"""VQAScore (Lin et al., arXiv 2404.01291): how probable is "Yes" to whether an image shows its prompt?

Reads counts, colours and relations, which CLIP's cosine is nearly blind to; long prompts too. `questions` asks those
that a prompt set brings for each prompt (a column `questions`, or GenEval's `include`), and gives their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .base import Batch, Direction, MetricError, Score, check_count, mean_score
from .vision_language import Asked, load

QUESTION = 'Does this figure show "{prompt}"? Please answer yes or no.'
"""As in the paper; `question` in a model's YAML is another."""
ENDING = " Please answer yes or no."


class Vqa:
    """100 · P("Yes") for each image, 0 to 100; more is better. Comparable between images of one model only."""

    version = "1"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, model: Asked, question: str = QUESTION) -> None:
        if "{prompt}" not in question:
            raise MetricError(f"the question {question!r} has no {{prompt}}: say where the prompt stands")
        self.name, self.model, self.question = "vqa", model, question
        self.identity = f"{model.identity} {question}"

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        asked = [self.question.replace("{prompt}", prompt) for prompt in batch.prompts]
        return mean_score(self, 100 * np.asarray(self.model.probabilities(batch.images, asked)))


class Questions:
    """100 · the mean of P("Yes") over the questions of each prompt, 0 to 100; more is better."""

    version = "1"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, model: Asked, asked: Mapping[str, Sequence[str]]) -> None:
        self.name, self.model, self.asked = "questions", model, asked
        self.identity = model.identity

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`. Raises MetricError for a prompt without questions."""
        check_count(self, len(batch))
        rows, asked = [], []
        for row, prompt in enumerate(batch.prompts):
            if not self.asked.get(prompt):
                raise MetricError(f"questions: there are none for the prompt '{prompt[:60]}'")
            for question in self.asked[prompt]:
                rows.append(row)
                asked.append(question if question.endswith(ENDING) else question.rstrip() + ENDING)
        found = np.asarray(self.model.probabilities(batch.images[rows], asked))
        totals, counts = np.bincount(rows, found, len(batch)), np.bincount(rows, minlength=len(batch))
        return mean_score(self, 100 * totals / counts)


def vqa(spec: Mapping[str, Any], device: str, models: Path) -> Vqa:
    """Of {source, …[, question]}; see `metrics.vision_language.load`."""
    return Vqa(load(spec, device, models), str(spec.get("question", QUESTION)))


def questions(spec: Mapping[str, Any], device: str, models: Path) -> Questions:
    """Of {source, …, asked: prompt → questions}."""
    return Questions(load(spec, device, models), spec.get("asked") or {})
