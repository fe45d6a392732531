"""Which weights a study reads beside the model's own folder: their size and licence, and whether they are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from configs import UserError

if TYPE_CHECKING:
    from freeu.models import ModelSpec


@dataclass(frozen=True)
class Weights:
    """name: a repository of the hub, or a file. readers: the model, or metrics. gb: of the download; None where
    nobody wrote it down, and so for the licence. here: whether any of it is on this machine.
    """

    name: str
    readers: tuple[str, ...]
    gb: float | None
    licence: str | None
    here: bool

    def __str__(self) -> str:
        size = "size not known" if self.gb is None else f"{self.gb:g} GB" if self.gb >= 0.01 else "below 10 MB"
        here = "here" if self.here else "not here"
        return f"{self.name}: {size}, {self.licence or 'licence not known'}, for {', '.join(self.readers)}; {here}"

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def needed(spec: ModelSpec, names: Sequence[str]) -> list[Weights]:
    """What is downloaded where it is not here: the model's, then the scorers'. The model's own files are left out.

    names: of the metrics.
    """
    from metrics.at_hand import known_weights, read_by
    from metrics.registry import METRICS

    known = known_weights()
    reads: dict[str, tuple[bool, list[str]]] = {}
    for metric in names:
        if metric not in METRICS or metric not in spec.scorers:
            continue
        settings = {"scorer": spec.scorers[metric]}
        if METRICS[metric].reference and spec.reference is not None:
            settings["reference"] = spec.reference
        for name, here in read_by(settings, spec.base):
            if not (spec.base / name).exists():
                reads.setdefault(name, (here, []))[1].append(metric)
    scorers = [
        Weights(name, tuple(dict.fromkeys(readers)), *_told(name, known), here)
        for name, (here, readers) in reads.items()
    ]
    return [*_of_model(spec, known), *scorers]


def _of_model(spec: ModelSpec, known: dict[str, Any]) -> list[Weights]:
    from freeu.models.locate import is_here
    from freeu.models.spec import HUB_ID

    if not spec.traits.here or not HUB_ID.fullmatch(spec.source) or spec.folder.exists():
        return []
    gb, licence = _told(spec.source, known)
    return [Weights(spec.source, (f"the model {spec.name}",), gb, spec.licence or licence, is_here(spec))]


def _told(name: str, known: dict[str, Any]) -> tuple[float | None, str | None]:
    found = known.get(name, {})
    return found.get("gb"), found.get("licence")


def check(spec: ModelSpec, names: Sequence[str]) -> None:
    """Raises UserError where weights of the scorers are neither here nor to be had, before anything loads. It lists
    all that are not here, the model's too.
    """
    from metrics.at_hand import INCEPTION

    away = [each for each in needed(spec, names) if not each.here]
    for each in away:
        own = each.name == INCEPTION or each.readers[0].startswith("the model ")
        asked = None if own else _why_not(each, spec)
        if asked is not None:
            raise UserError(
                f"weights that are not on this machine can't be had: {asked}. Needed: {_listed(away)}. Download them "
                "where the hub answers, name copies of your own in the model's YAML, or give other --objectives and "
                "--judges"
            )


def _why_not(weights: Weights, spec: ModelSpec) -> str | None:
    """What keeps weights from being downloaded; None where the hub has them."""
    from freeu.models.spec import HUB_ID
    from metrics.hub import why_not

    if not HUB_ID.fullmatch(weights.name):
        return f"{weights.name} is a file of this machine, and it isn't there"
    return why_not(weights.name, _kind(weights, spec))


def _kind(weights: Weights, spec: ModelSpec) -> str:
    return "dataset" if (spec.reference or {}).get("dataset") == weights.name else "model"


def _listed(all_: Sequence[Weights]) -> str:
    return "; ".join(str(each).removesuffix("; not here") for each in all_)
