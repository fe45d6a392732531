"""Scores go from one study to the next by what made them; where that can't be told, none does."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from configs import UserError
from search.session import run_study
from search.storage import StudyFolder
from tests.search.fakes import FakeGenerator, FakeMetric, metrics, settings


def run(tmp_path: Path, name: str, generator: FakeGenerator, measured: dict[str, FakeMetric] | None = None, **more):
    said = io.StringIO()
    config = settings(tmp_path, study=name, **more)
    run_study(config, Console(file=said, width=500), lambda config, spec: (generator, measured or metrics(config)))
    return said.getvalue(), StudyFolder(config.mlruns, name).read_trials()


def of(identity: str) -> FakeGenerator:
    generator = FakeGenerator()
    generator.identity = identity
    return generator


def test_a_generator_that_does_not_tell_its_weights_keeps_nothing_beyond_its_study(tmp_path: Path) -> None:
    said, records = run(tmp_path, "one", of(""))
    assert "can't tell the weights of the generator: no score is kept beyond this study" in said
    assert not (tmp_path / "mlruns" / "cache").exists()
    second = of("")
    run(tmp_path, "two", second)
    assert second.calls
    third = of("")
    _, again = run(tmp_path, "one", third)
    assert not third.calls and again == records
    with pytest.raises(UserError, match="aaaa, was none"):
        run(tmp_path, "one", of("a" * 64), trials=12)


def test_a_metric_that_does_not_tell_its_weights_keeps_nothing_beyond_its_study(tmp_path: Path) -> None:
    def measured(identity: str | None) -> dict[str, FakeMetric]:
        found = metrics(settings(tmp_path, objectives="clip,aesthetic"))
        if identity is not None:
            next(iter(found.values())).identity = identity
        return found

    name = next(iter(measured(None)))
    said, _ = run(tmp_path, "one", of("f" * 64), measured(""), objectives="clip,aesthetic")
    assert f"can't tell the weights of the metric {name}: no score" in said
    second = of("f" * 64)
    assert "can't tell" not in run(tmp_path, "two", second, measured("a"), objectives="clip,aesthetic")[0]
    assert second.calls
    third, fourth = of("f" * 64), of("f" * 64)
    run(tmp_path, "three", third, measured("a"), objectives="clip,aesthetic")
    run(tmp_path, "four", fourth, measured("b"), objectives="clip,aesthetic")
    assert fourth.calls and not third.calls
