"""The score cache: a candidate's image for a prompt and seed is made and scored once, across studies.

    mlruns/cache/MADE/CANDIDATE.npz   prompts and seeds by hash, and for each its scores and features

MADE is a digest of everything else that an image and its scores depend on: the weights, the steps, the device's kind,
the metrics and the weights that they read. Images are not kept. An unreadable file counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from freeu import Candidate
from search.storage.files import replacing

Found = dict[str, np.ndarray]
"""What one image got: by metric its score, or its features."""
KEYS = "keys"


class Cache:
    """The cached scores for one way to make and score images."""

    def __init__(self, folder: Path, made: Mapping[str, Any]) -> None:
        """made: all that the scores depend on, of JSON's types."""
        self._folder = folder / _digest(json.dumps(made, sort_keys=True, default=str))

    def read(
        self, candidate: Candidate, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[dict[str, np.ndarray] | None]:
        """Metric → score or features, for each prompt and seed; None for those not in the cache."""
        kept = self._kept(candidate)
        places = {key: place for place, key in enumerate(kept.pop(KEYS, np.array([])).tolist())}
        keys = (_key(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True))
        return [{name: values[places[key]] for name, values in kept.items()} if key in places else None for key in keys]

    def write(
        self, candidate: Candidate, prompts: Sequence[str], seeds: Sequence[int], found: Mapping[str, np.ndarray]
    ) -> None:
        """Add scores: metric → (n,) or (n, d), in the prompts' order. Keeps nothing if the disk refuses."""
        kept = self._kept(candidate)
        new = {KEYS: np.array([_key(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]), **found}
        if kept.keys() == new.keys():
            fresh = ~np.isin(new[KEYS], kept[KEYS])
            new = {name: np.concatenate([kept[name], values[fresh]]) for name, values in new.items()}
        with suppress(OSError), replacing(self._file(candidate)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **new)  # type: ignore[arg-type]

    def _file(self, candidate: Candidate) -> Path:
        return self._folder / f"{_digest(json.dumps(candidate.as_dict(), sort_keys=True))}.npz"

    def _kept(self, candidate: Candidate) -> dict[str, np.ndarray]:
        try:
            with np.load(self._file(candidate)) as kept:
                return dict(kept)
        except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error):
            return {}


def _key(prompt: str, seed: int) -> str:
    return _digest(f"{seed}\0{prompt}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
