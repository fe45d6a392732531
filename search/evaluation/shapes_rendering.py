"""A judge of the embedded model: are an image's pixels like those of true renders?

The attribute reader names what is shown, whatever noise, halos or burnt colours there are; this sees those and nothing
else. The measures are the guardrails' (`search.evaluation.guardrails.NAMES`), and the distance from true renders is
Mahalanobis', as NIQE's from good photographs (Mittal et al., IEEE SPL 2013). Nothing was tuned.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from search.evaluation.guardrails import NAMES

if TYPE_CHECKING:
    import numpy as np

    from metrics.base import Batch, Direction, Score

RENDERS = 256


class Rendering:
    """how far are the pixels from those of true renders? (deviations, over the guardrails' measures)"""

    name = "rendering"
    version = "1"
    direction: Direction = "down"
    per_image = True
    min_n = 1

    def score(self, batch: Batch) -> Score:
        """Mahalanobis' distance of each image, 0 and more; less is better. True renders have 2.6 on average."""
        import numpy as np

        from metrics.base import check_count, mean_score

        check_count(self, len(batch))
        centre, whitening = _renders()
        return mean_score(self, np.linalg.norm((_measured(batch) - centre) @ whitening, axis=1))


@lru_cache(maxsize=1)
def _renders() -> tuple[np.ndarray, np.ndarray]:
    """(mean (d,), what makes the measures uncorrelated with deviations of 1 (d, d)) of true renders."""
    import numpy as np
    import torch

    from freeu.shapes.draw import draw
    from freeu.shapes.scene import sample
    from metrics.base import Batch

    rng = np.random.default_rng(0)
    images = [torch.tensor(draw(sample(rng))).permute(2, 0, 1) for _ in range(RENDERS)]
    found = _measured(Batch(torch.stack(images), ("",) * RENDERS))
    return found.mean(0), np.linalg.cholesky(np.linalg.inv(np.cov(found, rowvar=False)))


def _measured(batch: Batch) -> np.ndarray:
    """float64 (n, d)."""
    import numpy as np

    from metrics.guardrails import Guardrail

    return np.stack([Guardrail(name, beside=NAMES).score(batch).per_image for name in NAMES], axis=1)  # type: ignore[arg-type]
