"""--compile: one compilation for a whole study, counted. Only traced here: what a backend makes of it is its own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import freeu
from freeu import IDENTITY, Controls, Factors
from freeu.models import load_generator, load_spec

PROMPTS = [f"picture {i}" for i in range(8)]
RUNGS = ((0, 2), (2, 4), (4, 8))


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    found = CompileCounterWithBackend("eager")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=found))
    yield found
    torch._dynamo.reset()


def of(version: str, stages: str, first: dict[str, Any], second: dict[str, Any] | None = None) -> list[Factors]:
    """Two candidates of one study."""
    return [
        Factors(1.5, 1.6, 0.9, 0.2, version, stages, Controls(**first)),  # type: ignore[arg-type]
        Factors(1.2, 1.0, 0.7, 1.1, version, stages, Controls(**(first if second is None else second))),  # type: ignore[arg-type]
    ]


STUDIES = {
    "v1 by width": of("v1", "width", {}),
    "v1 by block": of("v1", "block", {}),
    "v2 by width": of("v2", "width", {}),
    "v2 by block, symmetric": of("v2", "block", {"symmetric": True}),
    "schedules": of("v2", "width", {"start": 0.4, "stop": 0.9}, {"stop": 0.6, "smooth": 0.5}),
    "windows, third stage, high": of("v2", "width", {"width": 0.25}, {"offset": 0.5, "high": 0.9, "b3": 1.1}),
}


FAST = "v1 by block"
"""The one that every run of the tests counts; each takes some 10 s to trace."""


@pytest.mark.parametrize(
    "study", [each if each == FAST else pytest.param(each, marks=pytest.mark.slow) for each in STUDIES]
)
def test_a_study_compiles_once(study: str, sd_folder: Path, counter: Any) -> None:
    """Baseline, spread, racing rungs, confirmation, and the baseline again."""
    spec = load_spec(sd_folder)
    plain = load_generator(spec, device="cpu", steps=3, guidance=3.0, batch_size=2)
    one = load_generator(spec, device="cpu", steps=3, guidance=3.0, batch_size=2, compiled=True)
    one.expect([2, 2, 4], alike=STUDIES[study])  # type: ignore[attr-defined]
    seeds = list(range(8))

    def check(factors: Factors, begin: int, end: int) -> None:
        part = PROMPTS[begin:end], seeds[begin:end]
        found, wanted = (each.generate(*part, factors).int() for each in (one, plain))
        assert (found - wanted).abs().max() <= 1

    check(IDENTITY, 0, 8)
    for factors in STUDIES[study]:
        for begin, end in RUNGS:
            check(factors, begin, end)
    check(STUDIES[study][0], 1, 4)  # a range of the confirmation, with a batch to fill up
    check(IDENTITY, 0, 3)
    assert counter.frame_count == 1


@pytest.mark.slow
def test_a_search_of_both_versions_and_conventions_compiles_each_once(sd_folder: Path, counter: Any) -> None:
    one = load_generator(load_spec(sd_folder), device="cpu", steps=1, guidance=3.0, batch_size=2, compiled=True)
    all_of_them = [study[0] for name, study in STUDIES.items() if name.startswith("v") and "sym" not in name]
    one.expect([2], alike=all_of_them)  # type: ignore[attr-defined]
    for _ in range(2):
        for factors in (*all_of_them, IDENTITY):
            one.generate(PROMPTS[:2], [0, 1], factors)
    assert counter.frame_count == len(all_of_them)
    assert freeu.patch.watched(one.unet) is False  # type: ignore[attr-defined]
