"""The candidates that a study tries before its own: the baseline, the published factors, those of --like and --from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from configs import UserError
from freeu import Factors
from search.optimizer.space import Space, baseline, warm
from search.storage.files import read_json
from search.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    from freeu.models import ModelSpec
    from freeu.presets.like import Like
    from search.settings.config import StudyConfig


def first_candidates(
    config: StudyConfig, spec: ModelSpec, space: Space, like: Like | None = None
) -> tuple[tuple[str, Factors], ...]:
    """Each with its origin, the baseline first; what the space does not hold is left out. Raises UserError."""
    found = [("baseline", baseline(space))]
    if spec.published is not None:
        found += [("published", each) for each in warm([spec.published.factors()], space)]
    if like is not None and like.factors is not None:
        found += [(f"like:{config.like}", each) for each in warm([like.factors], space) if each == like.factors]
    for source in config.start_from:
        kept = [each for each in warm(_factors_of(source, config.mlruns), space) if not each.identity]
        found += [(f"from:{source} {number}", each) for number, each in enumerate(kept)]
    return tuple(found)


def _factors_of(source: str, mlruns: Path) -> list[Factors]:
    """Of a preset file, or of a finished study's front."""
    from freeu import presets

    other = StudyFolder(mlruns, source)
    if Path(source).is_file():
        return [preset.factors for preset in presets.read_all(source).values()]
    if other.result.is_file():
        return [Factors.from_dict(row["factors"]) for row in read_json(other.result)["front"]]
    raise UserError(f"--from {source}: there is no such preset file, and no finished study of that name in {mlruns}")
