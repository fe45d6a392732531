"""The head of a reward model: linear layers that turn a token's last hidden state into its score.

Known by what its tensors are called: `score` (transformers' sequence classification), `v_head` and `value_head` (trl
and what is built on it), `rm_head` (HPSv3 and its kin), `reward_head`. They lie in the model's own file or beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import torch

from configs import UserError, unknown

from .head_file import ACTIVATIONS, rectified

NAMES = ("score", "v_head", "value_head", "rm_head", "reward_head")


def is_of_head(tensor: str) -> bool:
    """Whether a tensor is a head's, by its name."""
    return tensor.split(".")[0] in NAMES


def read_head(files: Sequence[Path], activation: str | None, output: int) -> torch.nn.Module:
    """The head that one of the files holds, float32: hidden states (n, d) to scores (n,).

    Args:
        activation: what stands between its layers, "none" or "relu"; needed where there are several.
        output: which of the values that it ends in is the score.

    Raises:
        UserError: no head in them, several, or one that is no stack of linear layers.
    """
    tensors, where = _tensors(files)
    names = sorted((name for name in tensors if name.endswith("weight")), key=_numbers)
    biases = [tensors.pop(f"{name.removesuffix('weight')}bias", None) for name in names]
    weights = [tensors.pop(name) for name in names]
    shapes = [tuple(weight.shape) for weight in weights]
    fit = all(len(shape) == 2 for shape in shapes) and all(a[0] == b[1] for a, b in pairwise(shapes))
    if not fit or tensors or not 0 <= output < shapes[-1][0]:
        raise UserError(
            f"{where} holds a head that is no stack of linear layers with an output {output}: {names} of {shapes}"
        )
    if activation is not None and activation not in ACTIVATIONS:
        raise unknown("activation of a reward head", activation, ACTIVATIONS)
    if activation is None and len(names) > 1:
        raise UserError(f"the head of {where} has {len(names)} layers: say what stands between them, activation: relu "
                        "or none")  # fmt: skip
    numbers = tuple(([0, *_numbers(name)])[-1] for name in names)
    behind = rectified(numbers) if activation == "relu" else (False,) * len(names)
    layers: list[torch.nn.Module] = []
    for weight, bias, relu in zip(weights, biases, behind, strict=True):
        layers.append(_linear(weight, bias))
        layers += [torch.nn.ReLU()] if relu else []
    return torch.nn.Sequential(*layers, _Output(output)).eval().requires_grad_(False)


class _Output(torch.nn.Module):
    """One of the values that a head ends in."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values[..., self.place]


def _tensors(files: Iterable[Path]) -> tuple[dict[str, torch.Tensor], Path]:
    from safetensors import SafetensorError, safe_open

    found: dict[str, torch.Tensor] = {}
    where = Path()
    for file in files:
        try:
            with safe_open(file, "pt") as stored:
                own = {name: stored.get_tensor(name) for name in filter(is_of_head, stored.keys())}
        except (OSError, SafetensorError) as error:
            raise UserError(f"can't read the reward model's weights {file}: {error}") from error
        found, where = found | own, file if own else where
    if not found:
        shown = ", ".join(file.name for file in files) or "no .safetensors"
        known = ", ".join(NAMES)
        raise UserError(f"no reward head in {shown}: tensors called {known} are looked for; give its file as head")
    if len(heads := {name.split(".")[0] for name in found}) > 1:
        raise UserError(f"the reward model has several heads: {', '.join(sorted(heads))}; give the file of one as head")
    return found, where


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> torch.nn.Linear:
    made = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.load_state_dict({"weight": weight.float()} | ({} if bias is None else {"bias": bias.float()}))
    return made
