"""The file of an aesthetic head: its linear layers, what stands between them, and the encoder that it names.

Weights don't say what stands between: dropout, which rests here, or an activation. The numbers that torch.nn.Sequential
gives its parts do for LAION's second head and its variant with ReLU (improved-aesthetic-predictor); of any other stack
the user has to say it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import UserError, unknown

ACTIVATIONS = ("none", "relu")
LAION_WIDTHS = (1024, 128, 64, 16, 1)
LAION_LINEAR, LAION_RELU = (0, 2, 4, 6, 7), (0, 3, 6, 9, 11)
"""Where their linear layers stand: with dropout behind the first three; with ReLU behind the first four too."""


@dataclass(frozen=True)
class Head:
    """A stack of linear layers.

    Attributes:
        layers: of each weight (e, d) and bias (e,), float64.
        numbers: where each stands in its torch.nn.Sequential.
        made_for: the encoder that its file names.
        rectified: whether a ReLU stands behind each.
    """

    file: Path
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    numbers: tuple[int, ...]
    made_for: str | None
    rectified: tuple[bool, ...]

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Scores float64 (n,) of L2-normalised embeddings (n, d). Raises UserError for another d."""
        x = np.asarray(embeddings, np.float64)
        taken = self.layers[0][0].shape[1]
        if x.ndim != 2 or x.shape[1] != taken:
            raise UserError(f"{self.file} takes embeddings (n, {taken}), and these are {x.shape}")
        for (weight, bias), rectified in zip(self.layers, self.rectified, strict=True):
            x = x @ weight.T + bias
            x = np.maximum(x, 0) if rectified else x
        return x[:, 0]

    @property
    def widths(self) -> tuple[int, ...]:
        """Of what each layer gives."""
        return tuple(len(bias) for _, bias in self.layers)

    @property
    def is_laions_second(self) -> bool:
        return self.widths == LAION_WIDTHS and self.numbers in (LAION_LINEAR, LAION_RELU)


def read_head(file: Path, activation: str | None = None) -> Head:
    """A head's file: .safetensors (metadata: encoder, activation), or a .pth, read without running code.

    Args:
        activation: what stands between its layers, "none" or "relu", where the file doesn't say it.

    Raises:
        UserError: a file that can't be read or is no head, or nothing says what stands between its layers.
    """
    weights, metadata = _read(file)
    names, layers = _layers(file, weights)
    numbers = tuple(_number(name) for name in names)
    head = Head(file, tuple(layers), numbers, metadata.get("encoder"), (False,) * len(layers))
    said = metadata.get("activation", activation)
    if said is not None and said not in ACTIVATIONS:
        raise unknown(f"activation of the aesthetic head {file}", said, ACTIVATIONS)
    if said is None and len(layers) > 1 and not head.is_laions_second and numbers != LAION_LINEAR:
        raise UserError(
            f"{file} has {len(layers)} linear layers and doesn't say what stands between them: write it in the model's "
            "YAML, aesthetic: {activation: none} or {activation: relu}"
        )
    relu = said == "relu" or (said is None and head.is_laions_second and numbers == LAION_RELU)
    return replace(head, rectified=rectified(numbers)) if relu else head


def rectified(numbers: tuple[int, ...]) -> tuple[bool, ...]:
    """Behind which layers a ReLU stands: where the numbers leave room for one, or all but the last where none do."""
    gaps = [b - a > 1 for a, b in pairwise(numbers)]
    return (*(gaps if any(gaps) else [True] * len(gaps)), False)


def _number(name: str) -> int:
    return int(([0, *re.findall(r"\d+", name)])[-1])


def _read(file: Path) -> tuple[Any, Mapping[str, str]]:
    """The tensors of a head's file, and its metadata."""
    import pickle

    from safetensors import SafetensorError, safe_open

    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as stored:
                return {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata() or {}  # noqa: SIM118
        return torch.load(file, map_location="cpu", weights_only=True), {}
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"can't read the aesthetic head {file}: {error}") from error


def _layers(file: Path, weights: Any) -> tuple[list[str], list[tuple[np.ndarray, np.ndarray]]]:
    """The names of the linear layers in order ("layers.N.weight", or a bare "weight"), and of each (weight, bias)."""
    held = weights if isinstance(weights, Mapping) else {}
    names = [name for name in held if isinstance(name, str) and name.endswith("weight")]
    names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    layers = []
    for name in names:
        weight, bias = held[name], held.get(name.removesuffix("weight") + "bias")
        if not isinstance(weight, torch.Tensor) or not isinstance(bias, torch.Tensor):
            raise UserError(f"{file} is no aesthetic head: {name} is no tensor, or has no bias")
        layers.append((weight.double().numpy(), bias.double().numpy()))
    if others := [str(name) for name in held if name not in names and not _is_bias(name, names)]:
        raise UserError(f"{file} is no aesthetic head: beside linear layers it holds {', '.join(others)[:100]}")
    shapes = [weight.shape for weight, _ in layers]
    flat = all(len(weight.shape) == 2 and bias.shape == weight.shape[:1] for weight, bias in layers)
    if not layers or not flat or any(a[0] != b[1] for a, b in pairwise(shapes)) or shapes[-1][0] != 1:
        raise UserError(f"{file} is no aesthetic head: expected linear layers that end in one value, found {shapes}")
    return names, layers


def _is_bias(name: Any, names: list[str]) -> bool:
    return isinstance(name, str) and name.endswith("bias") and f"{name.removesuffix('bias')}weight" in names
