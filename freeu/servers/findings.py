"""What a server's first images say, before a search: whether they repeat, and whether FreeU acts there."""

from __future__ import annotations

from configs import UserError
from freeu.factors import Factors

SAME_IMAGE = 1.0
"""Of 255, the mean difference that the rounding of FreeU's own transform may make over a run."""
STRONG = Factors(1.4, 1.6, 0.9, 0.2)


def findings(neutral: float, strong: float, again: float) -> tuple[str, ...]:
    """What differences of an image to the baseline's say: under factors of 1, under strong ones, and drawn again.

    Raises:
        UserError: FreeU does nothing there.
    """
    said = []
    if again > 0:
        said.append(
            f"the server's images do not repeat: the same one drawn again differs by {again:.2g} of 255 on average; "
            "paired errors contain that, and more prompts make it smaller"
        )
    if strong <= max(again, 0.0):
        raise UserError(
            "FreeU does nothing in this workflow: strong factors give the baseline's image; is its model a U-Net, and "
            "is the image made from it?"
        )
    if neutral > SAME_IMAGE + again:
        said.append(
            f"FreeU's node at factors of 1 changes the image by {neutral:.2g} of 255 on average, where it should do "
            "nothing: the baseline is measured with the node left out"
        )
    return tuple(said)
