"""Judges of the embedded model: does an image show what its prompt asks for, and how cleanly is it drawn?

Both as the attribute reader sees it (freeu/shapes/reader.py), which was trained apart from everything else on true
renders, and nothing is searched or tuned on it. A prompt of the embedded model's grammar names its scene, so the right
answers are known; and what the reader sees can be drawn again, so it is known how the image should look.
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
BATCH = 16
"""Images that are drawn again at once: they and their derivatives fit in a processor's cache."""


class Reading:
    """What the judges share: an image is read once for all of them."""

    version: str = "1"
    per_image: bool = True
    min_n: int = 1

    def __init__(self, device: str = "cpu") -> None:
        from freeu.shapes.reader import Reader
        from metrics.encoders import Encoder

        self.device = device
        self.reader = Reader.load(path("models", "shapes") / "scorers" / "reader").to(device)
        self.encoder = Encoder("attribute reader", "attribute reader", self._read)

    def seen(self, batch: Batch) -> dict[str, torch.Tensor]:
        """The reader's answers, int64 (n,) by head, on the CPU."""
        from freeu.shapes.attributes import CLASSES

        answers = batch.embed(self.encoder).long()
        return {name: answers[:, place] for place, name in enumerate(CLASSES)}

    def _read(self, images: torch.Tensor) -> torch.Tensor:
        """float32 (n, heads): the answers, from uint8 (n, 3, H, W)."""
        import torch

        from freeu.shapes.attributes import CLASSES
        from metrics.preprocessing import fitted

        answers = self.reader.read(fitted(images, (SIDE, SIDE)).to(self.device))
        return torch.stack([answers[name] for name in CLASSES], dim=1).float()


class Objects(Reading):
    """are the objects that the prompt names there, each with its shape and colour? (attribute reader; percent)"""

    name: str = "objects"
    what = "object"
    direction: Direction = "up"

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

        check_count(self, len(batch))
        if (why := self.unfit(batch.prompts)) is not None:
            raise MetricError(f"{self.name}: {why}")
        wanted = labels([scene for prompt in batch.prompts if (scene := scene_of(prompt)) is not None])
        found = right(self.seen(batch), wanted)
        return mean_score(self, 100 * np.asarray(found[self.what], np.float64))


class Colours(Objects):
    """do the objects have the colours that the prompt names? (attribute reader; percent)"""

    name, what = "colours", "colour"


class Relations(Objects):
    """are there as many objects as the prompt names, and related as it says? (attribute reader; percent)"""

    name, what = "relations", "relation"


class RenderError(Reading):
    """how far is it from a clean drawing of the scene that it shows? (mean difference of pixels, in levels of 255)

    Of its own scene, not the prompt's: whether that is the right one is for the other judges.
    """

    name = "render_error"
    direction: Direction = "down"

    def score(self, batch: Batch) -> Score:
        """The mean absolute difference over pixels and channels, at 64 by 64 pixels."""
        import torch

        from freeu.shapes.redraw import redrawn
        from metrics.base import check_count, mean_score
        from metrics.preprocessing import fitted

        check_count(self, len(batch))
        seen = {name: answers.to(self.device) for name, answers in self.seen(batch).items()}
        images = fitted(batch.images, (SIDE, SIDE)).to(self.device).float() / 255
        far = [
            (part - redrawn(part, {name: answers[start : start + BATCH] for name, answers in seen.items()})).abs()
            for start, part in zip(range(0, len(images), BATCH), images.split(BATCH), strict=True)
        ]
        return mean_score(self, 255 * torch.cat(far).double().mean((1, 2, 3)).cpu().numpy())
