"""Metrics of the user's own: their names, what they say of themselves, and the weights that they read."""

from __future__ import annotations

import functools
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import nn

from configs import UserError
from metrics import own_metric, registry
from tests.own_metric import Redness

HERE = __name__


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch):
    """Puts something into this module, and gives the name that it is asked for by."""

    def put(thing: object, name: str = "Made") -> str:
        monkeypatch.setattr(sys.modules[HERE], name, thing, raising=False)
        return f"{HERE}:{name}"

    return put


def called(title: object) -> type:
    return type("Some", (Redness,), {"name": title})


@pytest.mark.parametrize(
    ("title", "says"),
    [
        ("clip", "is called 'clip', which is a name of this project's: give its class another `name`"),
        ("CLIP", "which is a name of this project's"),
        ("sharpness", "which is a name of this project's"),
        ("drift", "which is a name of this project's"),
        *((each, "which is a name of this project's") for each in own_metric.TAKEN),
        ("", "is called '', which is no name: give its class a `name` of up to 60 letters, digits"),
        ("a" * 300, r"is called 'a{60}', which is no name"),
        ("a/b", "no name"),
        ("clip.se", "no name"),
        ("how red?", "no name"),
        ("red ", "no name"),
        ("red\n", "no name"),
        ("-red", "no name"),
        ("gru\u0308n", "no name"),
    ],
)
def test_a_name_that_would_lose_scores_is_refused(title: str, says: str, given) -> None:
    with pytest.raises(UserError, match=says):
        registry.describe_all(["clip", given(called(title))])


@pytest.mark.parametrize("title", ["r", "Redness", "how red", "red-2", "red_ness", "Röte", "a" * 60])
def test_a_name_that_does(title: str, given) -> None:
    import mlflow.utils.validation

    mlflow.utils.validation._validate_metric_name(f"held_out/{title}.difference")
    assert [info.name for info in registry.describe_all(["clip", given(called(title))])] == ["clip", title]


def test_two_of_one_name_are_refused(given) -> None:
    names = [given(called("red"), "One"), given(called("Red"), "Two")]
    with pytest.raises(UserError, match=r"Two is called 'Red', which is the name of .*One too: give its class another"):
        registry.describe_all(names)
    again = [given(functools.partial(Redness), "One"), "tests.own_metric:Redness"]
    with pytest.raises(UserError, match=r"is the name of .*One too"):
        registry.describe_all(again)


def test_names_are_checked_before_anything_loads(tmp_path: Path, given) -> None:
    from search.settings.job import prepare
    from search.settings.reading import load

    names = (given(called("one"), "One"), given(called("one"), "Two"))
    config = load(None, {"model": "shapes", "objectives": names, "mlruns": tmp_path})
    with pytest.raises(UserError, match=r"is the name of .*One too"):
        prepare(config)


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (Redness(), "is <tests.own_metric.Redness .*: expected a class, or functools.partial of one"),
        (lambda: Redness(), "expected a class, or functools.partial of one"),
        (5, "is 5: expected a class"),
        (object, "lacks direction, per_image, min_n, version, score"),
        (type("Set", (Redness,), {"per_image": False}), "lacks features, distance"),
        (type("Higher", (Redness,), {"direction": "higher"}), 'has the direction \'higher\': expected "up" or "down"'),
        (type("Each", (Redness,), {"per_image": 1}), "has the per_image 1: expected True or False"),
        (type("Few", (Redness,), {"min_n": 0}), "has the min_n 0: expected a number of images"),
        (type("Late", (Redness,), {"version": property(lambda self: "1")}), "has the version <property"),
    ],
)
def test_what_is_no_metric_is_told(thing: object, says: str, given) -> None:
    with pytest.raises(UserError, match=says):
        registry.describe(given(thing))


@pytest.mark.parametrize(
    ("content", "says"),
    [("1 / 0", r"ZeroDivisionError: division by zero"), ("(", "SyntaxError"), ("import no_such", "No module named")],
)
def test_a_module_that_fails_is_told(content: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_metric.py").write_text(content)
    with pytest.raises(UserError, match=says):
        registry.describe("failing_metric:Some")


def test_an_entry_point_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("red", "no_such_package:Red", own_metric.GROUP)
    monkeypatch.setattr(own_metric, "entries", lambda: {"red": broken})
    with pytest.raises(UserError, match="the metric red can't be had: No module named 'no_such_package'"):
        registry.describe("red")


class Learned(Redness):
    """Redness as a network sees it."""

    def __init__(self, weight: float = 1.0, device: str = "cpu") -> None:
        self.net = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            self.net.weight.fill_(weight)
        self.device = device


def built(name: str):
    return registry.build(name, {}, "cpu", Path())


def test_other_weights_are_another_identity(given) -> None:
    one, again, other = (built(given(functools.partial(Learned, value))) for value in (1.0, 1.0, 2.0))
    assert one.identity == again.identity != other.identity
    assert len(one.identity) == 64 and one.name == "Learned" and one.device == "cpu"


def test_without_a_torch_module_the_identity_is_the_metrics_or_none(given) -> None:
    assert built("tests.own_metric:Redness").identity == ""
    assert built(given(type("Told", (Redness,), {"identity": "red 1"}))).identity == "red 1"


def test_what_making_one_raises_is_told(given) -> None:
    def fails(self: object) -> None:
        raise FileNotFoundError("no weights.pt")

    frozen = type("Frozen", (Redness,), {"name": property(lambda self: "red")})
    with pytest.raises(UserError, match=r"can't be made: FileNotFoundError: no weights\.pt"):
        built(given(type("Missing", (Redness,), {"__init__": fails})))
    with pytest.raises(UserError, match="can't be made: AttributeError"):
        built(given(frozen))
