"""A metric of a user's own, as docs/metrics.md describes it."""

from __future__ import annotations

from metrics.base import Batch, Score, mean_score

N = 5


class Redness:
    """How red an image is."""

    direction = "up"
    per_image = True
    min_n = 1
    version = "1"

    def score(self, batch: Batch) -> Score:
        """The mean of the red channel, 0 to 255."""
        return mean_score(self, batch.images[:, 0].double().mean((1, 2)).numpy())


class Calm(Redness):
    """How little red there is: the same number, of which less is better."""

    direction = "down"
