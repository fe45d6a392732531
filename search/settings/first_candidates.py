"""The candidates that a study tries before its own: the baseline, the published factors, those of --like and --from,
and FreeU off at other guidance scales, so that what FreeU adds can be told from what guidance alone does.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from configs import UserError
from freeu import Candidate, Sampling
from search.optimizer.space import Space, off, warm
from search.storage import StudyFolder
from search.storage.files import read_json
from search.storage.result_file import candidate_of

if TYPE_CHECKING:
    from freeu.models import ModelSpec
    from freeu.presets.like import Like
    from search.settings.config import StudyConfig

TUNED = "tuned baseline"
"""The origin of FreeU off under other sampling settings than the study's."""
SCALES = (0.5, 2.0)
"""Of the study's guidance scale; search/study/next_scale.py looks nearer from there."""
SHARE = 10
"""One trial in so many, at most, is such a one, unless the scales are given."""


def first_candidates(
    config: StudyConfig, spec: ModelSpec, space: Space, like: Like | None = None
) -> tuple[tuple[str, Candidate], ...]:
    """Each with its origin, the baseline first; what the space does not hold is left out. Raises UserError."""
    found = [("baseline", off(space))]
    if spec.published is not None:
        found += [("published", each) for each in warm([Candidate(spec.published.factors())], space)]
    if like is not None and like.factors is not None:
        given = Candidate(like.factors)
        found += [(f"like:{config.like}", each) for each in warm([given], space) if each == given]
    for source in config.start_from:
        kept = [each for each in warm(_candidates_of(source, config.mlruns), space) if not each.off]
        found += [(f"from:{source} {number}", each) for number, each in enumerate(kept)]
    scales = baseline_scales(config, spec, space.own.guidance)
    found += [(f"{TUNED}:guidance {scale:g}", off(space, Sampling(guidance=scale))) for scale in scales]
    return tuple(found)


def baseline_scales(config: StudyConfig, spec: ModelSpec, own: float | None) -> tuple[float, ...]:
    """The guidance scales, beside the study's own, at which FreeU off is scored; none where guidance means nothing."""
    if config.baseline_guidance == "off" or not own:
        return ()
    if config.baseline_guidance is not None:
        return tuple(dict.fromkeys(each for each in config.baseline_guidance if each != own))
    if not _has_guidance(spec):
        return ()
    near = dict.fromkeys(max(1.0, float(f"{share * own:.2g}")) for share in SCALES)
    return tuple(scale for scale in near if scale != own)[: config.trials // SHARE]


def _has_guidance(spec: ModelSpec) -> bool:
    """Whether its guidance scale can be set, as far as is known before it is loaded."""
    known = spec.traits.guidance
    return any(bound.startswith("guidance=") for bound in spec.bind) if known is None else known


def _candidates_of(source: str, mlruns: Path) -> list[Candidate]:
    """Of a preset file, or of a finished study's front."""
    from freeu import presets

    other = StudyFolder(mlruns, source)
    if Path(source).is_file():
        return [Candidate(preset.factors) for preset in presets.read_all(source).values()]
    if other.result.is_file():
        rows = read_json(other.result)["front"]
        return [candidate_of(row) for row in rows]
    raise UserError(f"--from {source}: there is no such preset file, and no finished study of that name in {mlruns}")
