"""Scores of images that were made before: a candidate is drawn once on a prompt and seed, by whatever study.

    mlruns/cache/MADE/FACTORS.npz   prompts and seeds by hash, and for each its scores and features

MADE names what an image and its scores depend on beside factors, prompt and seed: the weights, the steps, the device's
kind, the metrics and the weights that they read. Images are not kept. A file that can't be read counts as none.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from freeu import Factors
from search.storage.files import replacing

Found = dict[str, np.ndarray]
"""What one image got: by metric its score, or its features."""
KEYS = "keys"


class Cache:
    """Of one way to make images and score them."""

    def __init__(self, folder: Path, made: Mapping[str, Any]) -> None:
        """made: all that the scores depend on, of JSON's types."""
        self._folder = folder / _digest(json.dumps(made, sort_keys=True, default=str))

    def read(
        self, factors: Factors, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[dict[str, np.ndarray] | None]:
        """For each prompt and seed what was found, by metric; None where nothing was."""
        kept = self._kept(factors)
        places = {key: place for place, key in enumerate(kept.pop(KEYS, np.array([])).tolist())}
        keys = (_key(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True))
        return [{name: values[places[key]] for name, values in kept.items()} if key in places else None for key in keys]

    def write(
        self, factors: Factors, prompts: Sequence[str], seeds: Sequence[int], found: Mapping[str, np.ndarray]
    ) -> None:
        """Add what was found: metric → (n,) or (n, d), in the order of the prompts. Where the disk refuses, nothing."""
        kept = self._kept(factors)
        new = {KEYS: np.array([_key(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]), **found}
        if kept.keys() == new.keys():
            fresh = ~np.isin(new[KEYS], kept[KEYS])
            new = {name: np.concatenate([kept[name], values[fresh]]) for name, values in new.items()}
        with suppress(OSError), replacing(self._file(factors)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **new)  # type: ignore[arg-type]

    def _file(self, factors: Factors) -> Path:
        return self._folder / f"{_digest(json.dumps(factors.as_dict(), sort_keys=True))}.npz"

    def _kept(self, factors: Factors) -> dict[str, np.ndarray]:
        try:
            with np.load(self._file(factors)) as kept:
                return dict(kept)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return {}


def _key(prompt: str, seed: int) -> str:
    return _digest(f"{seed}\0{prompt}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
