"""A base model and metrics that need no weights: an image's brightness tells how far its factors are from the best.

Run as a script it begins studies in processes of their own, for tests that kill them.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from freeu import Factors, Sampling
from metrics.base import Batch, Score
from search.settings.config import StudyConfig
from search.settings.reading import load

BEST = (1.3, 1.2, 0.7, 0.5)


class FakeGenerator:
    """8×8 images. Channel 0 is bright near BEST, channel 1 near the baseline; both a little noisy by prompt and
    seed."""

    name, identity, image_size = "fake", "f" * 64, (8, 8)

    def __init__(self, seconds: float = 0.0, log: Path | None = None, help: float = 100.0) -> None:
        self.seconds, self.log, self.help = seconds, log, help
        self.calls: list[tuple[Factors, tuple[str, ...], tuple[int, ...]]] = []

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_step: Callable[[float], None] | None = None,
    ) -> torch.Tensor:
        self.calls.append((factors, tuple(prompts), tuple(seeds)))
        time.sleep(self.seconds)
        x = np.array([factors.b1, factors.b2, factors.s1, factors.s2])
        near = [np.exp(-2 * ((x - np.array(best)) ** 2).sum()) for best in (BEST, (1, 1, 1, 1))]
        images = np.zeros((len(prompts), 3, 8, 8), np.uint8)
        for i, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            noise = hashlib.sha256(f"{prompt}{seed}".encode()).digest()[0] / 255
            wobble = hashlib.sha256(f"{prompt}{seed}{factors}".encode()).digest()[0] / 255
            images[i, 0] = round(60 + self.help * near[0] + 40 * noise + 10 * wobble)
            images[i, 1] = round(60 + 100 * near[1] + 40 * noise + 10 * wobble)
            if on_step is not None:
                on_step(i + 1)
        if self.log is not None:
            with self.log.open("a") as stream:
                stream.write(json.dumps([factors.as_dict(), len(prompts)]) + "\n")
        return torch.from_numpy(images)

    def with_sampling(self, sampling: Sampling) -> FakeGenerator:
        """The same: nothing here depends on it."""
        return self

    def unet_evaluations(self, count: int) -> int:
        return 10 * count

    def prepare(self, prompts: Sequence[str], samplings: Sequence[Sampling] = ()) -> None:
        """Nothing to do."""

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        return [prompt for prompt in prompts if len(prompt) > 80]


class FakeMetric:
    """The mean of a channel, 0 to 1. per_image=False makes it a set metric, as FID is: lower is better."""

    version, min_n = "1", 2

    def __init__(self, name: str, channel: int, per_image: bool = True) -> None:
        self.name, self.channel, self.per_image = name, channel, per_image
        self.direction = "up" if per_image else "down"

    def features(self, batch: Batch) -> np.ndarray:
        return batch.images.float().mean((2, 3)).numpy().astype(np.float64) / 255

    def distance(self, features: np.ndarray) -> float:
        return float(1 - features[:, self.channel].mean())

    def score(self, batch: Batch) -> Score:
        found = self.features(batch)
        if not self.per_image:
            value = self.distance(found)
            return Score(self.name, "1", "down", value, float("nan"), len(found), None)
        each = found[:, self.channel]
        spread = float(each.std(ddof=1) / len(each) ** 0.5)
        return Score(self.name, "1", "up", float(each.mean()), spread, len(each), each)


def metrics(config: StudyConfig) -> dict[str, Any]:
    known = {
        "clip": FakeMetric("clip", 0),
        "aesthetic": FakeMetric("aesthetic", 1),
        "fid": FakeMetric("fid", 0, per_image=False),
    }
    return {name: known[name] for name in config.objectives}


def load_fakes(config: StudyConfig, spec: Any) -> tuple[Any, dict[str, Any]]:
    """For worker processes, which load by a function's name."""
    return FakeGenerator(), metrics(config)


def settings(folder: Path, **flags: Any) -> StudyConfig:
    """A small study in `folder`: 24 prompts, 12 of them at most a trial."""
    folder.mkdir(parents=True, exist_ok=True)
    prompts = folder / "prompts.txt"
    prompts.write_text("".join(f"a picture of thing number {i}\n" for i in range(24)))
    small = {
        "prompts": str(prompts),
        "mlruns": folder / "mlruns",
        "limit": 8,
        "trials": 10,
        "study": "small",
        "sampler": "random",
    }
    return load(None, small | flags)


def logged_study(home: Path, seconds: float, trials: int, seed: int = 0, sampler: str = "random") -> None:
    """Run or resume the study of a folder, which gets a log of what was drawn."""
    from rich.console import Console

    from search.session import run_study

    config = settings(home, trials=trials, objectives="clip,aesthetic", seed=seed, sampler=sampler)
    generator = FakeGenerator(seconds, log=home / "generated.jsonl")
    run_study(config, Console(), lambda config, spec: (generator, metrics(config)))


if __name__ == "__main__":
    # For each line of FOLDER SECONDS TRIALS SEED SAMPLER a study in a process of its own: prints its number, and its
    # exit status once it has ended. What a study imports is there before.
    for module in ("mlflow.store.tracking.sqlalchemy_store", "optuna", "pandas", "plotly.graph_objects"):
        importlib.import_module(module)
    importlib.import_module("search.session")
    for line in sys.stdin:
        if not (child := os.fork()):
            home, seconds, trials, seed, sampler = line.split()
            with (Path(home) / "log.txt").open("ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            logged_study(Path(home), float(seconds), int(trials), int(seed), sampler)
            raise SystemExit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
