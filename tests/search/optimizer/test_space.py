"""What is searched: the four numbers by default, and whatever a YAML makes of FreeU's other dimensions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml

from configs import UserError
from freeu import IDENTITY, PUBLISHED, Candidate, Controls, Factors
from search.optimizer.space import Space, off, warm
from search.optimizer.space_file import default, kept, load

NAMES = ("b1", "b2", "s1", "s2")


def space_of(text: str, folder: Path, version: str = "v2", stages: str = "width") -> Space:
    (folder / "space.yaml").write_text(text)
    return load(folder / "space.yaml", version, stages)


def test_the_space_holds_no_freeu_and_all_published_factors() -> None:
    for factors in (IDENTITY, *PUBLISHED.values()):
        assert default().holds(Candidate(factors))
        assert all(0 <= x <= 1 for x in default().unit(Candidate(factors)))
        for name, distribution in default().distributions().items():
            assert distribution._contains(getattr(factors, name))


def test_there_and_back() -> None:
    space = default("v1", "block")
    candidate = Candidate(Factors(1.1, 1.7, 0.3, 0.0, "v1", "block"))
    assert space.candidate(space.params(candidate)) == candidate
    assert not default().holds(candidate)  # of another version


def test_unit_maps_the_ranges_ends() -> None:
    assert default().unit(Candidate(Factors(0.8, 0.8, 0.0, 0.0))) == [0, 0, 0, 0]
    assert default().unit(Candidate(Factors(1.8, 1.8, 1.2, 1.2))) == pytest.approx([1, 1, 1, 1])


def test_sobol_points_fill_the_space_and_repeat_by_seed() -> None:
    space = default()
    points = space.sobol(8, 3)
    assert points == space.sobol(8, 3)
    assert points[:5] == space.sobol(5, 3)
    assert points != space.sobol(8, 4)
    assert space.sobol(0, 3) == []
    for dimension in space.dimensions:
        eighths = np.floor([8 * dimension.unit(point[dimension.name]) for point in points])
        assert sorted(eighths) == list(range(8))  # a scrambled Sobol net puts one point in each eighth


WIDE = """
b1: {low: 1.0, high: 1.6, step: 0.1}
s1: 0.9
s2: {low: 0.01, high: 1.0, log: true}
version: [v1, v2]
threshold: [1, 4]
width: [0.25, 1.0]
stop: {low: 0.4, high: 1.0, when: {version: v2}}
"""


def test_every_kind_of_dimension(tmp_path: Path) -> None:
    space = space_of(WIDE, tmp_path)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    found = []
    for _ in range(60):
        trial = study.ask()
        params = space.suggest(trial)
        candidate = space.candidate(params)
        factors = candidate.factors
        assert space.holds(candidate) and space.candidate(space.params(candidate)) == candidate
        assert ("stop" in params) == (factors.version == "v2") == (space.needed(params) == {"stop"} | set(params))
        study.tell(trial, 0.0)
        found.append(factors)
    assert {each.s1 for each in found} == {0.9}
    assert {round(each.b1, 9) for each in found} <= {1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6}
    assert {each.version for each in found} == {"v1", "v2"}
    assert {each.controls.threshold for each in found} == {1, 2, 3, 4}
    assert {each.controls.stop for each in found if each.version == "v1"} == {1.0}
    assert 0.2 < np.mean([each.s2 < 0.1 for each in found]) < 0.8  # half of a log range from 0.01 to 1
    assert all(0 <= x <= 1 for each in found for x in space.unit(Candidate(each)))


def test_a_space_comes_back_from_a_fingerprint(tmp_path: Path) -> None:
    """Its factors; of sampling settings nothing, as what they are of a study is not there."""
    space = space_of(WIDE, tmp_path)
    assert kept(yaml.safe_load(yaml.safe_dump(space.as_dict(), sort_keys=False))) == space
    with_guidance = space_of("sampling:\n  guidance: [1, 5]\ns2:\n  low: 0\n  high: 1\n", tmp_path)
    assert kept(with_guidance.as_dict()).dimensions == space_of("s2: [0, 1]\n", tmp_path).dimensions
    alone = space_of("b1: 1\nb2: 1\ns1: 1\ns2: 1\nsampling:\n  guidance: [1, 5]\n", tmp_path)
    with pytest.raises(UserError, match="fixes everything"):
        kept(alone.as_dict())


def test_sobol_and_grid_of_every_kind(tmp_path: Path) -> None:
    space = space_of(WIDE, tmp_path)
    assert all(space.holds(space.candidate(point)) for point in space.sobol(32, 0))
    grid = space.grid()
    assert grid["version"] == ["v1", "v2"] and grid["b1"] == pytest.approx([1.0, 1.3, 1.6])
    assert grid["s2"] == pytest.approx([0.01, 0.1, 1.0]) and grid["threshold"] == [1, 2, 4]


def test_no_freeu_may_lie_outside(tmp_path: Path) -> None:
    space = space_of("b1: [1.2, 1.5]\ns1: 0.9\n", tmp_path)
    assert off(space) == Candidate(IDENTITY) and not space.holds(off(space))
    assert space.params(off(space)) == {"b1": 1.2, "b2": 1.0, "s2": 1.0}


def test_what_was_found_elsewhere_is_brought_here(tmp_path: Path) -> None:
    inside, outside = Candidate(Factors(1.3, 1.4, 0.9, 0.2, "v1")), Candidate(Factors(1.3, 1.4, 0.8, 0.2))
    space = space_of("s1: 0.9\n", tmp_path)
    assert warm([inside, outside, inside], space) == [Candidate(Factors(1.3, 1.4, 0.9, 0.2, "v2"))]
    assert warm([Candidate(Factors(1.3, 1.4, 0.9, 0.2, controls=Controls(stop=0.5)))], space) == []


@pytest.mark.parametrize(("text", "said"), [
    ("b3: [1, 2]\nb4: [1, 2]", "unknown dimension 'b4'"),
    ("b1: [1.5, 1.2]", "b1 goes from 1.5 to 1.2"),
    ("b1: [1]", "b1 is [1]: expected [low, high]"),
    ("b1: [a, b]", "expected [low, high]"),
    ("b1: {low: 1, hihg: 2}", "expected [low, high]"),
    ("b1: [-9, 2]", "b1 at -9.0"),
    ("s1: {low: 0, high: 1, log: true}", "a log range begins above 0"),
    ("s1: {low: 0, high: 1, step: 3}", "a step divides its range"),
    ("version: [v1, v3]", "version is ['v1', 'v3']"),
    ("version: v3", "unknown FreeU version"),
    ("start: [0, 0.6]\nstop: [0.5, 1]", "start goes up to 0.6 and stop begins at 0.5"),
    ("stop: {low: 0.1, high: 1, when: {vers: v2}}", "when is {'vers': 'v2'}"),
    ("stop: {low: 0.1, high: 1, when: {version: v3}}", "stop is searched when version is 'v3', which it never is"),
    ("stop: {low: 0.1, high: 1, when: {version: v1}}", "stop is searched when version is 'v1', which it never is"),
    ("stop: {low: 0.1, high: 1, when: {b1: 3}}", "stop is searched when b1 is 3"),
    ("stop: {low: 0.1, high: 1, when: {b1: x}}", "stop is searched when b1 is 'x'"),
    ("start: x", "start is 'x': expected a number"),
    ("version: [v1, [v2]]", "version is ['v1', ['v2']]"),
    ("threshold: {low: 1, high: 3, step: 0.5}", "its ends and its step are whole numbers"),
    ("threshold: [1, 2.5]", "its ends and its step are whole numbers"),
    ("b1: 1\nb2: 1\ns1: 1\ns2: 1", "fixes everything"),
    ("threshold: [0, 4]", "threshold at 0"),
    ("b1: !!python/object/apply:os.system [ls]", "YAML"),
])  # fmt: skip
def test_a_space_that_cant_be(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        space_of(text, tmp_path)
    assert said in str(error.value) and "space.yaml" in str(error.value)


def test_a_study_over_another_space(tmp_path: Path) -> None:
    """The baseline lies outside of it: it is evaluated, and Optuna isn't told that it lies at the edge."""
    from tests.search.study.test_coordinator import opened

    space = space_of("b1: [1.2, 1.5]\ns1: 0.9\nversion: [v1, v2]\nstop: [0.4, 0.9]\n", tmp_path)
    study = opened(tmp_path / "study", space=space, sampler="tpe")
    study.run(12)
    records = study.records()
    assert records[0].factors == IDENTITY and records[0].complete
    assert [each.origin for each in records[:3]] == ["baseline", "published", "sobol"]
    found: Any = [each.factors for each in records[2:]]
    assert all(space.holds(Candidate(each)) for each in found)
    assert {each.version for each in found} == {"v1", "v2"} and all(each.controls.stop < 0.91 for each in found)
    trials = optuna.load_study(study_name="s", storage=study.storage.folder.optuna_url).trials
    assert trials[0].state.name == "FAIL" and trials[5].state.name == "COMPLETE"
    assert all(math.isfinite(x) for each in found for x in space.unit(Candidate(each)))


def test_conditions_are_ordered_and_may_not_wait_for_each_other(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    chain = "b1: {low: 1, high: 2, when: {b2: 1.2}}\nb2: {low: 1, high: 2, when: {version: v2}}\nversion: [v1, v2]\n"
    file.write_text(chain)
    names = [each.name for each in load(file, "v2", "width").dimensions]
    assert names.index("version") < names.index("b2") < names.index("b1")
    file.write_text("b1: {low: 1, high: 2, when: {b2: 1.2}}\nb2: {low: 1, high: 2, when: {b1: 1.2}}\n")
    with pytest.raises(UserError, match="the conditions of b1, b2 wait for each other"):
        load(file, "v2", "width")


@pytest.mark.parametrize("end", [".inf", ".nan", "9" * 400])
def test_ends_that_are_no_numbers_of_a_range_are_refused(tmp_path: Path, end: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(f"b1: [1.0, {end}]\n")
    with pytest.raises(UserError, match=r"finite|no int"):
        load(file, "v2", "width")
