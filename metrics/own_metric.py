"""A metric of the user's own: `--objectives package.module:Class`, or an entry point in the group freeu_search.metrics.

It is called without arguments, or with the device where it names that. What it is has to stand on the class, since it
is told before anything is built. See docs/metrics.md.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable
from functools import cache, partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from configs import UserError
from configs.object_identity import object_identity

if TYPE_CHECKING:
    from .base import Metric

GROUP = "freeu_search.metrics"
OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
TITLE = re.compile(r"[^\W\d_](?:[\w -]{0,58}\w)?")
"""A title is a column of tables and a metric's key in MLflow, where '.' and '/' part it from what is said of it."""
TAKEN = (
    *("prompt", "seed", "category", "image"),  # the other columns of the tables of scores
    *("hypervolume", "images", "unet_evaluations", "rung", "rank"),  # MLflow's keys, and two more
    *("peak_memory_gb", "images_per_second"),
    *("keys", "file", "allow_pickle"),  # of the kept scores, see numpy.savez
)


def find(name: str) -> Any:
    """The user's class of that name, or a `functools.partial` of one; None where the name is none of theirs.

    Raises:
        UserError: it can't be imported.
    """
    if name not in entries() and not OWN.fullmatch(name):
        return None
    module, _, attribute = name.partition(":")
    try:
        return entries()[name].load() if name in entries() else getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the user's code: any
        kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
        raise UserError(
            f"the metric {name} can't be had: {kind}{error}; the module is looked for in this folder and among what "
            "is installed"
        ) from error


@cache
def entries() -> dict[str, Any]:
    """Entry points by name."""
    return {each.name: each for each in entry_points(group=GROUP)}


def check(name: str, own: Any) -> type:
    """The class of a metric, which says what is known of it.

    Raises:
        UserError: it is no class, or lacks something, or says what can't be.
    """
    kind = own
    while isinstance(kind, partial):
        kind = kind.func
    if not isinstance(kind, type):
        raise UserError(f"the metric {name} is {own!r}: expected a class, or functools.partial of one")
    missing = [each for each in ("direction", "per_image", "min_n", "version", "score") if not hasattr(kind, each)]
    if not getattr(kind, "per_image", True):
        missing += [each for each in ("features", "distance") if not hasattr(kind, each)]
    if missing:
        raise UserError(f"the metric {name} lacks {', '.join(missing)}: see docs/metrics.md")
    wanted = {
        "direction": (lambda found: found in ("up", "down", "none"), '"up" or "down"'),
        "per_image": (lambda found: isinstance(found, bool), "True or False"),
        "min_n": (lambda found: type(found) is int and found >= 1, "a number of images"),
        "version": (lambda found: isinstance(found, str | int | float), 'a text, as "1"'),
    }
    for attribute, (fits, expected) in wanted.items():
        if not fits(found := getattr(kind, attribute)):
            raise UserError(f"the metric {name} has the {attribute} {found!r}: expected {expected}")
    return kind


def title(kind: type) -> str:
    """What it is called in tables and files: its name, else its class's."""
    named = getattr(kind, "name", None)
    return named if isinstance(named, str) else kind.__name__


def check_titles(titles: Iterable[tuple[str, str]], ours: Iterable[str]) -> None:
    """Refuses titles by which scores would be lost, or written over others.

    Args:
        titles: of each metric the name that it was asked for by, and its title.
        ours: names of the project's metrics and guardrails, which theirs alone may have.

    Raises:
        UserError: a title that can't be a key, that something else has, or that two have.
    """
    ours = frozenset(ours)
    taken = {title.casefold(): "is a name of this project's" for title in (*ours, *TAKEN)}
    for name, called in titles:
        if name in ours:
            continue
        what = f"the metric {name} is called '{called[:60]}', which"
        if not TITLE.fullmatch(called):
            raise UserError(f"{what} is no name: give its class a `name` of up to 60 letters, digits, '_', '-' and ' '")
        if (why := taken.get(called.casefold())) is not None:
            raise UserError(f"{what} {why}: give its class another `name`")
        taken[called.casefold()] = f"is the name of {name} too"


def called(name: str, own: Any, device: str) -> Metric:
    """The metric, with its title and its identity: empty where it doesn't tell what it reads.

    Raises:
        UserError: it raised something, or can't be given its name.
    """
    kind = check(name, own)
    try:
        metric: Metric = own(**({"device": device} if "device" in inspect.signature(own).parameters else {}))
        metric.name = title(kind)
        told = getattr(metric, "identity", None)
        if not (isinstance(told, str) and told):
            metric.identity = object_identity(metric, kind.__module__) or ""  # type: ignore[attr-defined]
    except Exception as error:  # the user's code: any
        if isinstance(error, UserError):
            raise
        said = " ".join(str(error).split())[:200]
        raise UserError(f"the metric {name} can't be made: {type(error).__name__}: {said}") from error
    return metric
