"""A space from YAML (`--space`), checked. By default four numbers, in ranges that hold every published setting with
room on both sides; the file narrows or fixes them, and adds what else can be set of FreeU:

    b1: [1.0, 1.5]                      # a range
    s1: 0.9                             # fixed
    s2: {low: 0.01, high: 1, log: true}
    b2: {low: 1, high: 1.6, step: 0.1}
    version: [v1, v2]                   # a choice
    stop: {low: 0.3, high: 1, when: {version: v2}}   # searched only where another dimension has this value
    sampling:                           # sampling settings, searched together with the factors
      guidance: [1, 10]
      scheduler: [Euler a, DPM++ 2M Karras]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import UserError, quoted, read_yaml, unknown
from freeu import Controls, Sampling, schedulers
from freeu.sampling import UNCHANGED
from search.optimizer.dimension import CHOICES, CONTROLS, NUMBERS, SAMPLING, WHOLE, Choice, Dimension
from search.optimizer.space import Space

MOST = 1e6
"""Beyond it no factor or control means anything; nor does .inf, or a number of 400 digits."""
DEFAULT: dict[str, Any] = {"b1": [0.8, 1.8], "b2": [0.8, 1.8], "s1": [0.0, 1.2], "s2": [0.0, 1.2]}


def chosen(file: str | None, version: str, stages: str, own: Sampling) -> Space:
    """The space of a YAML, or the default one. own: the study's sampling settings. Raises UserError as `load`."""
    return default(version, stages, own) if file is None else load(Path(file), version, stages, own)


def default(version: str = "v2", stages: str = "width", own: Sampling = UNCHANGED) -> Space:
    """The default space: the four factors, in wide ranges."""
    return _made({**DEFAULT, "version": version, "stages": stages}, own, "the default space")


def kept(found: Mapping[str, Any]) -> Space:
    """What a fingerprint keeps of a space (`Space.as_dict`), its factors alone: sampling settings that are searched too
    are left out, and what is searched only under some of them. Raises UserError where no factor is searched.
    """
    own = {name: each for name, each in found.items() if name not in SAMPLING}
    free = {name: each for name, each in own.items() if not (isinstance(each, dict) and each["when"].keys() & SAMPLING)}
    return _made(free, UNCHANGED, "the study's space")


def load(file: Path, version: str, stages: str, own: Sampling = UNCHANGED) -> Space:
    """Read a space from a YAML; factors that it doesn't name keep their default ranges.

    Raises:
        UserError: an unknown name (with the nearest one), or an invalid range, choice or condition.
    """
    found = {**DEFAULT, "version": version, "stages": stages, **read_yaml(file)}
    if alone := [name for name in SAMPLING if name in found]:
        raise UserError(f"{file}: {alone[0]} is a sampling setting: put it under sampling:")
    sampling = _sampling(found.pop("sampling", {}), str(file))
    return _made({**found, **sampling}, own, str(file))


def _sampling(found: Any, where: str) -> Mapping[str, Any]:
    """The group of sampling settings, each a range or a choice: what is fixed has a flag of its own."""
    if not isinstance(found, dict):
        raise UserError(f"{where}: sampling is {quoted(found)}: expected names with ranges, as guidance: [1, 10]")
    for name, given in found.items():
        if name not in SAMPLING:
            raise UserError(f"{where}: {unknown('sampling setting', str(name), SAMPLING)}")
        if not isinstance(given, list | dict):
            flag = f"--{str(name).replace('_', '-')} {given}"
            raise UserError(f"{where}: sampling: {name} is {quoted(given)}, one value: give it with {flag}")
    return found


def _made(found: Mapping[str, Any], own: Sampling, where: str) -> Space:
    known = (*NUMBERS, *CHOICES, *CONTROLS, *SAMPLING)
    dimensions: list[Dimension] = []
    fixed: dict[str, Choice] = {}
    for name, given in found.items():
        if name not in known:
            raise UserError(f"{where}: {unknown('dimension', str(name), known)}")
        if isinstance(given, list | dict):
            dimensions.append(_dimension(name, given, where))
        else:
            fixed[name] = given
    space = Space(_ordered(dimensions, where), fixed, own)
    _check(space, where)
    return space


def _ordered(dimensions: list[Dimension], where: str) -> tuple[Dimension, ...]:
    """What a condition names stands before it, and the scheduler before eta, which not all take. Raises UserError where
    conditions wait for each other."""
    left, found = list(dimensions), []
    while left:
        waiting = {each.name for each in left}
        ready = [
            each for each in left if not waiting & ({*each.when} | ({"scheduler"} if each.name == "eta" else set()))
        ]
        if not ready:
            names = ", ".join(sorted(waiting))
            raise UserError(f"{where}: the conditions of {names} wait for each other: leave out one `when`")
        found += ready
        left = [each for each in left if each not in ready]
    return tuple(found)


def _dimension(name: str, given: Any, where: str) -> Dimension:
    if name in CHOICES or name == "scheduler":
        choices = given if isinstance(given, list) else given.get("choices")
        if name == "scheduler" and isinstance(choices, list):
            choices = [_scheduler(str(each), where) for each in choices]
        known = CHOICES.get(name) or choices or ()
        if not isinstance(choices, list) or any(each not in known for each in choices) or len(set(choices)) < 2:
            raise UserError(f"{where}: {name} is {quoted(given)}: expected two or more of {', '.join(known)}")
        return Dimension(name, choices=tuple(choices), when=_when(given, name, where))
    more = dict(given) if isinstance(given, dict) else {}
    low, high = (more.pop("low", None), more.pop("high", None)) if more else given if len(given) == 2 else (None, None)
    log, step = more.pop("log", False), more.pop("step", None)
    when = _when(more, name, where)
    more.pop("when", None)
    numbers = [each for each in (low, high, step) if each is not None]
    sound = all(isinstance(each, int | float) and not isinstance(each, bool) and abs(each) < MOST for each in numbers)
    if low is None or high is None or not sound or more or not isinstance(log, bool):
        raise UserError(f"{where}: {name} is {quoted(given)}: expected [low, high], or low, high and log, step or when")
    if not low < high:
        raise UserError(f"{where}: {name} goes from {low} to {high}: low must be below high")
    if (log and (low <= 0 or step)) or (step is not None and not 0 < step <= high - low):
        raise UserError(
            f"{where}: {name} is {quoted(given)}: a log range begins above 0 and has no step, "
            "and a step divides its range"
        )
    if name in WHOLE and any(each != int(each) for each in numbers):
        raise UserError(f"{where}: {name} is {quoted(given)}: its ends and its step are whole numbers")
    return Dimension(name, float(low), float(high), log, None if step is None else float(step), when=when)


def _scheduler(name: str, where: str) -> str:
    try:
        return schedulers.canonical(name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _when(given: Any, name: str, where: str) -> Mapping[str, Choice]:
    when = given.get("when", {}) if isinstance(given, dict) else {}
    if not isinstance(when, dict) or not set(when) <= {*CHOICES, *NUMBERS, *CONTROLS, *SAMPLING} - {name}:
        raise UserError(f"{where}: {name}: when is {quoted(when)}: expected another dimension and its value")
    return when


def _check(space: Space, where: str) -> None:
    """Raise UserError if nothing is left to search, or the ends of the ranges make invalid factors."""
    if not space.dimensions:
        raise UserError(f"{where} fixes everything: leave a range to search")
    for each in space.dimensions:
        for name, value in each.when.items():
            if not _can_be(space, name, value):
                raise UserError(
                    f"{where}: {each.name} is searched when {name} is {quoted(value)}, which it never is: give a value "
                    f"that {name} can have"
                )
    latest, earliest = (_end(space, name, high, where) for name, high in (("start", True), ("stop", False)))
    if latest >= earliest:
        raise UserError(
            f"{where}: start goes up to {latest:g} and stop begins at {earliest:g}: every start must come "
            "before every stop"
        )
    for each in space.dimensions:
        ends = each.choices or (each.low, each.high)
        for end in ends:
            try:
                space.candidate({**{other.name: other.at(0.5) for other in space.dimensions}, each.name: end})
            except UserError as error:
                raise UserError(f"{where}: {each.name} at {end}: {error}") from error


def _end(space: Space, name: str, high: bool, where: str) -> float:
    """The upper or lower end of a control of the schedule."""
    for each in space.dimensions:
        if each.name == name:
            return each.high if high else each.low
    value = space.fixed.get(name, getattr(Controls(), name))
    if isinstance(value, bool | str) or value is None:
        raise UserError(f"{where}: {name} is {quoted(value)}: expected a number")
    return float(value)


def _can_be(space: Space, name: str, value: Any) -> bool:
    """Whether a dimension, or what is fixed, can have a value."""
    for each in space.dimensions:
        if each.name == name:
            return value in each.choices if each.choices else isinstance(value, int | float) and each.holds(value)
    return bool(space.fixed.get(name) == value)
