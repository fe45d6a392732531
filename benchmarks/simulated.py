"""Many workers that share one study, in simulated time: a crew whose images cost nothing but their seconds.

Jobs are done at once, in this process; the clock goes on by what they would take, plus what the coordinator and the
scoring really took. So a day of 64 GPUs is seconds here, and the whole study runs: spread, baseline, races, looks.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from freeu import Factors
from metrics.base import Direction, Metric, mean_score
from search.evaluation import Evaluators
from search.workers.crew import Job


class Timed:
    """A generator of tiny images, which counts them. A candidate is as good as its factors are near some best ones."""

    name, identity, image_size, max_tokens = "timed", "t" * 64, (8, 8), 77

    def __init__(self) -> None:
        self.made = 0

    def generate(self, prompts: Any, seeds: Any, factors: Factors, on_step: Any = None) -> torch.Tensor:
        """Brightness near the best factors, with noise by prompt and seed."""
        from freeu.generate import generator

        self.made += len(prompts)
        x = torch.tensor([factors.b1 - 1.3, factors.b2 - 1.2, factors.s1 - 0.7, factors.s2 - 0.5])
        near = float(torch.exp(-2 * x.square().sum()))
        images = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            random = generator(prompt, seed)
            base = 128 + 20 * torch.randn(3, 1, 1, generator=random) + 8 * torch.randn(3, 8, 8, generator=random)
            images.append(base + torch.tensor([30 * near, 20 * (1 - near), 0.0]).view(3, 1, 1))
        return torch.stack(images).clamp(0, 255).to(torch.uint8)

    def with_sampling(self, sampling: Any) -> Timed:
        """The same: nothing here depends on it."""
        return self

    def unet_evaluations(self, n: int) -> int:
        """Ten steps."""
        return 10 * n

    def prepare(self, prompts: Any, samplings: Any = ()) -> None:
        """Nothing to do."""

    def too_long(self, prompts: Any) -> list[str]:
        """None."""
        return []


class Channel:
    """A channel's mean as a metric."""

    version, min_n, per_image = "1", 2, True
    direction: Direction = "up"

    def __init__(self, name: str, channel: int) -> None:
        self.name, self.channel = name, channel

    def score(self, batch: Any) -> Any:
        """See `metrics.base.Metric.score`."""
        return mean_score(self, batch.images[:, self.channel].double().mean((1, 2)).numpy())


class SimulatedCrew:
    """A `Crew` in simulated time. now: seconds since it began; busy: of all workers together."""

    def __init__(
        self, held: Evaluators, timed: Timed, workers: int, seconds: float, clock: Callable[[], float] | None = None
    ) -> None:
        """seconds: an image. clock: what the coordinator and the scoring take; None counts nothing."""
        self._held, self._timed, self._seconds = held, timed, seconds
        self._clock = clock or (lambda: 0.0)
        self._free, self._running, self._count = workers, list[tuple[float, int, int, Any]](), 0
        self.workers, self.now, self.busy, self._since = workers, 0.0, 0.0, self._clock()

    @property
    def free(self) -> int:
        return self._free

    def submit(self, key: int, job: Job) -> None:
        self._tick()
        before = self._timed.made
        try:
            found: Any = job(self._held, lambda done: None)
        except Exception as error:  # as a worker hands it back
            found = error
        own, self._since = self._clock() - self._since, self._clock()
        took = own + self._seconds * (self._timed.made - before)
        self._free, self._count, self.busy = self._free - 1, self._count + 1, self.busy + took
        heapq.heappush(self._running, (self.now + took, self._count, key, found))

    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        self._tick()
        end, _, key, found = heapq.heappop(self._running)
        self.now, self._free = max(self.now, end), self._free + 1
        return [(key, found)]

    def close(self) -> None:
        """Nothing to end."""

    def _tick(self) -> None:
        """What passed since the last call was the coordinator's."""
        now = self._clock()
        self.now, self._since = self.now + now - self._since, now


def whole_study(
    folder: Path, workers: int, seconds: float, clock: Callable[[], float] | None = time.thread_time, **flags: Any
) -> tuple[float, float]:
    """(share of their time that the workers were busy, hours) of a default study from its first image to its verdict.

    clock: of the coordinator's own work.
    """
    import io

    from rich.console import Console

    from search import session
    from search.settings.reading import load

    crews: list[SimulatedCrew] = []

    def crew(held: Callable[[], Evaluators], workers: int, device: Any) -> SimulatedCrew:
        crews.append(SimulatedCrew(held(), timed, workers, seconds, clock))
        return crews[0]

    timed = Timed()
    named: dict[str, Metric] = {"clip": Channel("clip", 0), "aesthetic": Channel("aesthetic", 1)}
    config = load(
        None,
        {
            "model": "shapes",
            "objectives": "clip,aesthetic",
            "prompts": "general",
            "mlruns": folder,
            "workers": workers,
            "cache": False,
            "keep_images": "small",
            "device": "cpu",
            **flags,
        },
    )
    plain = session.processes
    session.processes = crew  # type: ignore[assignment]
    try:
        session.run_study(config, Console(file=io.StringIO()), lambda config, spec: (timed, named))
    finally:
        session.processes = plain
    return crews[0].busy / crews[0].workers / crews[0].now, crews[0].now / 3600
