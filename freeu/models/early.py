"""The steps before a schedule's start, made once for all candidates: until then FreeU changes nothing.

Kept is a run's state after so many steps, to the bit: latents, scheduler, and the images' generators.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from freeu.controls import Controls
from freeu.schedule import Steps, weight

MOST = 64
"""States that are kept, each of one batch: of SDXL some 0.4 MB an image in half precision."""


@dataclass(frozen=True)
class State:
    """Of a run after so many steps."""

    latents: torch.Tensor
    scheduler: Any
    randoms: list[torch.Tensor]

    @staticmethod
    def of(latents: torch.Tensor, scheduler: Any, randoms: Sequence[torch.Generator]) -> State:
        """As it is now."""
        return State(latents, scheduler, [random.get_state() for random in randoms])


class Early:
    """The states of a generator's runs."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, int], State] = OrderedDict()

    def keep(self, batch: Any, steps: int, state: State) -> None:
        """Remember the state of a batch, named by its prompts and seeds, after `steps` steps."""
        self._kept[batch, steps] = copy.deepcopy(state)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)

    def latest(self, batch: Any, steps: int) -> tuple[int, State | None]:
        """(steps done, state) of the longest run of a batch that is kept, of `steps` at most; (0, None) for none."""
        done = max((each for name, each in self._kept if name == batch and each <= steps), default=0)
        if not done:
            return 0, None
        self._kept.move_to_end((batch, done))
        return done, copy.deepcopy(self._kept[batch, done])


def untouched(controls: Controls, run: Any) -> int:
    """How many of a run's first steps FreeU leaves alone. run: has its timesteps."""
    weights = weight(*Steps(run)(run.timesteps), controls)
    return int((weights == 0).cumprod(0).sum())
