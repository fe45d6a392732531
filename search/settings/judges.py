"""Which judges a study has: metrics that its confirmation reads and its search never does.

Without --judges they are those of the model's YAML, else whatever of its scorers is on this machine and is no
objective. A study that was begun keeps its own, as what is on a machine changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from configs import UserError
from search.settings.kept import kept_fingerprint
from search.storage import StudyFolder

if TYPE_CHECKING:
    from freeu.models import ModelSpec
    from metrics.registry import MetricInfo

NONE = ("none",)
USUAL = ("questions", "vqa", "hps", "pickscore", "image_reward", "cmmd", "kid", "fd_dinov2")
"""The most telling first."""
MOST = 4
"""Of the usual ones that a study takes unasked: each costs time, and some of what the others can show."""


def chosen(
    asked: tuple[str, ...] | None,
    folder: StudyFolder,
    spec: ModelSpec,
    objectives: Mapping[str, str],
    held_out: Sequence[str],
) -> tuple[tuple[str, ...], dict[str, str]]:
    """(the judges as they are built, ("none",) for none; title → "up" or "down").

    asked: None where nobody named any. objectives: by title. held_out: the prompts that the judges read.

    Raises:
        UserError: an unknown metric, one that is no judge or can't judge this study.
    """
    asked = asked if asked is not None else _begun(folder)
    if asked is None:
        names = _usual(spec, objectives, held_out)
    else:
        names = () if asked == NONE else tuple(_named(name, spec) for name in asked)
    infos = _described(names, objectives, held_out, spec)
    return names or NONE, {info.name: info.direction for info in infos}


def _begun(folder: StudyFolder) -> tuple[str, ...] | None:
    """Those of a study that is there already; none where it was begun before there were judges."""
    if not folder.config.exists():
        return None
    return tuple(kept_fingerprint(folder).get("judges", ())) or NONE


def _usual(spec: ModelSpec, objectives: Mapping[str, str], held_out: Sequence[str]) -> tuple[str, ...]:
    from metrics.registry import describe

    names, most = (USUAL, MOST) if spec.judges is None else (spec.judges, None)
    fitting = [name for name in names if at_hand(name, spec) and not why_not(describe(name), spec, held_out)]
    return tuple([name for name in fitting if describe(name).name not in objectives][:most])


def _named(name: str, spec: ModelSpec) -> str:
    """A judge as it is built: the model's own may be called by their titles."""
    from metrics.registry import METRICS, describe

    if name in METRICS:
        return name
    own = {describe(each).name: each for each in spec.judges or ()}
    if name in own:
        return own[name]
    try:
        describe(name)
    except UserError:
        from configs import unknown

        if ":" in name:
            raise
        judges = [each for each, info in METRICS.items() if info.direction != "none"]
        raise unknown("judge", name, dict.fromkeys([*judges, *own, *NONE])) from None
    return name


def _described(
    names: Sequence[str], objectives: Mapping[str, str], held_out: Sequence[str], spec: ModelSpec
) -> list[MetricInfo]:
    from metrics.registry import describe_all

    infos = describe_all(names)
    for info in infos:
        if info.name in objectives:
            raise UserError(
                f"--judges {info.name}: it is an objective, and a judge is what the search never reads: leave it "
                "out of --judges or of --objectives"
            )
        if info.direction == "none":
            raise UserError(f"--judges {info.name}: it is a guardrail, which has no better direction")
        if (why := why_not(info, spec, held_out)) is not None:
            raise UserError(f"--judges {info.name}: {why}")
    return infos


def why_not(info: MetricInfo, spec: ModelSpec, held_out: Sequence[str]) -> str | None:
    """What keeps a metric from judging this study; None for nothing."""
    if info.videos and spec.frames == 1:
        return "it scores videos, and this model makes images"
    if info.min_n > len(held_out):
        return f"it needs at least {info.min_n} held-out prompts, and there are {len(held_out)}"
    if info.name == "questions" and not set(held_out) <= (spec.scorers.get("questions", {}).get("asked") or {}).keys():
        return "the prompt set has not for each prompt a column 'questions' (docs/metrics.md)"
    return info.unfit(held_out)


def at_hand(name: str, spec: ModelSpec) -> bool:
    """Whether all that a metric reads for this model is on this machine."""
    from metrics.at_hand import missing
    from metrics.registry import METRICS

    info = METRICS.get(name)
    if info is None or not info.encoder:  # of one's own
        return True
    settings: dict[str, Any] = {"scorer": spec.scorers.get(name)}
    if settings["scorer"] is None or (info.reference and spec.reference is None):
        return False
    return not missing(settings | ({"reference": spec.reference} if info.reference else {}), spec.base)
