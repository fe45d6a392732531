"""Judges of the embedded model: does an image show what its prompt asks for, as the attribute reader sees it?

The reader (freeu/shapes/reader.py) was trained apart from everything else on true renders, and nothing is searched or
tuned on it. A prompt of the embedded model's grammar names its scene, so the right answers are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from configs import path
from freeu.shapes.wording import scene_of

if TYPE_CHECKING:
    from metrics.base import Batch, Score

SIDE = 64


class Objects:
    """are the objects that the prompt names there, each with its shape and colour? (attribute reader; percent)"""

    name, what = "objects", "object"
    direction: Literal["up", "down", "none"] = "up"
    per_image, min_n, version = True, 1, "1"

    def __init__(self, device: str = "cpu") -> None:
        from freeu.shapes.reader import Reader

        self.device = device
        self.reader = Reader.load(path("models", "shapes") / "scorers" / "reader").to(device)

    @classmethod
    def unfit(cls, prompts: Sequence[str]) -> str | None:
        """Why prompts can't be scored; None where they can."""
        other = next((prompt for prompt in prompts if scene_of(prompt) is None), None)
        return None if other is None else f"it reads prompts of the set 'shapes' alone, not '{other[:60]}'"

    def score(self, batch: Batch) -> Score:
        """The share of the prompt's objects that are right, in percent; raises MetricError for other prompts."""
        import numpy as np

        from freeu.shapes.attributes import labels, right
        from metrics.base import MetricError, check_count, mean_score
        from metrics.preprocessing import fitted

        check_count(self, len(batch))
        if (why := self.unfit(batch.prompts)) is not None:
            raise MetricError(f"{self.name}: {why}")
        wanted = labels([scene for prompt in batch.prompts if (scene := scene_of(prompt)) is not None])
        seen = self.reader.read(fitted(batch.images, (SIDE, SIDE)).to(self.device))
        found = right({name: each.cpu() for name, each in seen.items()}, wanted)
        return mean_score(self, 100 * np.asarray(found[self.what], np.float64))


class Colours(Objects):
    """do the objects have the colours that the prompt names? (attribute reader; percent)"""

    name, what = "colours", "colour"


class Relations(Objects):
    """are there as many objects as the prompt names, and related as it says? (attribute reader; percent)"""

    name, what = "relations", "relation"
