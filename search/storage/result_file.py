"""result.json, checked when it is read: it may come from somebody else, or be damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from configs import UserError, quoted
from freeu import Candidate, Factors, Sampling
from search.storage.files import read_json


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Score(_Part):
    value: float
    base: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float
    n: int
    win_rate: float | None = None


class _FrontRow(_Part):
    number: int
    origin: str
    factors: dict[str, Any]
    sampling: dict[str, Any] = {}
    expected: dict[str, float]


class _Baseline(_Part):
    sampling: dict[str, Any]


class _Rival(_Part):
    number: int
    sampling: dict[str, Any]
    scores: dict[str, _Score]
    judges: dict[str, _Score] = {}


class _Against(_Part):
    baseline: _Baseline | None = None
    tuned_baseline: _Rival | None = None

    @model_validator(mode="after")
    def _both(self) -> _Against:
        if self.tuned_baseline is not None:
            Sampling.from_dict(self.tuned_baseline.sampling)
            if self.baseline is None:
                raise ValueError("a tuned baseline without the baseline")
        return self


class _Floor(_Part):
    n: int
    base: float
    floor: float | None


class _Pick(_Part):
    pick: str
    number: int
    factors: dict[str, Any]
    sampling: dict[str, Any] = {}
    scores: dict[str, _Score]
    judges: dict[str, _Score] = {}
    against: _Against = _Against()


class _Result(_Part):
    study: str
    model: str
    model_identity: str
    trials: int
    objectives: dict[str, Literal["up", "down"]]
    judges: dict[str, Literal["up", "down"]] = {}
    set_distances: dict[str, _Floor] = {}
    sampling: dict[str, Any] = {}
    front: list[_FrontRow]
    picks: list[_Pick]
    verdict: str


def read_result_file(file: Path) -> dict[str, Any]:
    """What it holds, as it was written.

    Raises:
        UserError: it can't be read, or lacks something that every result has; says what.
    """
    found: dict[str, Any] = read_json(file)
    try:
        result = _Result.model_validate(found)
        Sampling.from_dict(result.sampling)
        for row in result.front:
            candidate_of(row.model_dump())
            for name in result.objectives:
                _number(row.expected.get(name), f"front, trial {row.number}, expected {name}")
        for pick in result.picks:
            candidate_of(pick.model_dump())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise _damaged(file, f"{where} is {quoted(first['input'])}: {first['msg']}") from None
    except (UserError, ValueError) as error:
        raise _damaged(file, str(error)) from error
    return found


def candidate_of(row: Mapping[str, Any]) -> Candidate:
    """Of a pick or of a row of the front, as result.json holds it."""
    return Candidate(Factors.from_dict(row["factors"]), Sampling.from_dict(row.get("sampling", {})))


def _number(value: Any, where: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{where} is {quoted(value)}")


def _damaged(file: Path, why: str) -> UserError:
    return UserError(f"{file} is damaged ({why}): remove it, and run the study's command again to make it anew")
