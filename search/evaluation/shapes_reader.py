"""Judges of the embedded model: does an image show what its prompt asks for, as the attribute reader sees it?

The reader (freeu/shapes/reader.py) was trained apart from everything else on true renders, and nothing is searched or
tuned on it. A prompt of the embedded model's grammar names its scene, so the right answers are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs import path
from freeu.shapes.wording import scene_of

if TYPE_CHECKING:
    import torch

    from metrics.base import Batch, Direction, Score

SIDE = 64


class Objects:
    """are the objects that the prompt names there, each with its shape and colour? (attribute reader; percent)"""

    name: str = "objects"
    what = "object"
    version: str = "1"
    direction: Direction = "up"
    per_image: bool = True
    min_n: int = 1

    def __init__(self, device: str = "cpu") -> None:
        from freeu.shapes.reader import Reader
        from metrics.encoders import Encoder

        self.device = device
        self.reader = Reader.load(path("models", "shapes") / "scorers" / "reader").to(device)
        self.encoder = Encoder(
            "attribute reader", "attribute reader", self._read
        )  # an image is read once for all three

    @classmethod
    def unfit(cls, prompts: Sequence[str]) -> str | None:
        """Why prompts can't be scored; None where they can."""
        other = next((prompt for prompt in prompts if scene_of(prompt) is None), None)
        return None if other is None else f"it reads prompts of the set 'shapes' alone, not '{other[:60]}'"

    def score(self, batch: Batch) -> Score:
        """The share of the prompt's objects that are right, in percent; raises MetricError for other prompts."""
        import numpy as np

        from freeu.shapes.attributes import CLASSES, labels, right
        from metrics.base import MetricError, check_count, mean_score

        check_count(self, len(batch))
        if (why := self.unfit(batch.prompts)) is not None:
            raise MetricError(f"{self.name}: {why}")
        wanted = labels([scene for prompt in batch.prompts if (scene := scene_of(prompt)) is not None])
        seen = batch.embed(self.encoder).long()
        found = right({name: seen[:, place] for place, name in enumerate(CLASSES)}, wanted)
        return mean_score(self, 100 * np.asarray(found[self.what], np.float64))

    def _read(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (n, heads): the answers, from uint8 (n, 3, H, W)."""
        import torch

        from freeu.shapes.attributes import CLASSES
        from metrics.preprocessing import fitted

        answers = self.reader.read(fitted(images, (SIDE, SIDE)).to(self.device))
        return torch.stack([answers[name] for name in CLASSES], dim=1).float()


class Colours(Objects):
    """do the objects have the colours that the prompt names? (attribute reader; percent)"""

    name, what = "colours", "colour"


class Relations(Objects):
    """are there as many objects as the prompt names, and related as it says? (attribute reader; percent)"""

    name, what = "relations", "relation"
