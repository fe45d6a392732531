"""By what an objective may rise without a better image, said where a person decides: before a study, beside its result.

Preference scorers rise with guidance and saturation (arXiv 2602.22570), rewards with artefacts (arXiv 2601.03468).
configs/metrics.yaml has what each metric `rises_with`: guidance, or measures that are guardrails ("-motion": less of
it). A guardrail rules a candidate out beyond one spread between seeds; a shift of half of that can carry a gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from configs import path, read_yaml
from search.study.rival import apart, joined
from search.study.second_opinion import BEGINS
from search.study.verdict import measurable

if TYPE_CHECKING:
    from search.settings.job import Job

MARKED = 0.5
"""A shift, in spreads between seeds, that is worth a word."""
SURE = 2.0
"""Errors by which FreeU off at another guidance is better than the baseline, to be worth a word."""
FEW = 1000
"""Images below which a distance of sets says little by itself: at 1,000 an Inception's Fréchet distance still is some
units above its value at 50,000."""


def before(job: Job) -> list[str]:
    """Of a plan: a line on what raises its objectives for free, and one on its distances of sets."""
    searched, n = {each.name for each in job.space.dimensions}, len(job.prompts)
    causes = {name: _words(name, searched) for name in job.directions}
    lines = []
    if told := [f"{name} rises with {joined(words)}" for name, words in causes.items() if words]:
        lines.append(f"{', '.join(told)}, better images or not: see what the judges and the pairs say of a gain")
    sets = {name: kind for name in job.directions if (kind := _known(name).get("of_sets"))}
    if sets and n < FEW:
        told = [f"{name} is {'biased and noisy' if kind == 'biased' else 'noisy'}" for name, kind in sets.items()]
        lines.append(f"at {n} images {joined(told)}: compare at equal n only")
    return lines


def beside(result: Mapping[str, Any]) -> list[str]:
    """Of a result, as result.json holds it: a sentence for each finalist whose gain may be an artefact, or that all
    judges that tell are against, and one on what guidance alone does; what the verdict says is left out."""
    lines = _guidance_alone(result)
    names: dict[int, list[str]] = {}
    for pick in result["picks"]:
        names.setdefault(pick["number"], []).append(pick["pick"])
    for number, same in names.items():
        pick = next(each for each in result["picks"] if each["number"] == number)
        named, gains = f"{' = '.join(same)} (trial {number})", _better(pick["scores"], result["objectives"])
        for name in gains:
            if moved := _moved(name, pick, result):
                lines.append(f"{named}: with {name} rose what raises it without a better image, {joined(moved)}.")
        judged = pick.get("judges", {})
        for_it = _better(judged, result.get("judges", {}))
        against = [name for name, row in judged.items() if measurable(row) and name not in for_it]
        told = result["verdict"].startswith(BEGINS["contradicted"]) and named in result["verdict"]
        if gains and against and not for_it and not told:
            lines.append(f"{named}: {joined(gains)} moved against all judges that tell ({joined(against)}).")
    return lines


def _guidance_alone(result: Mapping[str, Any]) -> list[str]:
    """Where FreeU off under other settings surely does better in something than the baseline, and is no finalist's
    rival, as it does worse in something else."""
    base, ways = result.get("baseline"), result["objectives"]
    if base is None or any("tuned_baseline" in pick.get("against", {}) for pick in result["picks"]):
        return []

    def gains(row: Mapping[str, Any]) -> dict[str, float]:
        return {name: row["expected"][name] - base["expected"][name] for name in ways}

    def sureness(row: Mapping[str, Any]) -> float:
        """Of its largest gain, in errors."""
        up = {name: gain if ways[name] == "up" else -gain for name, gain in gains(row).items()}
        return max((gain / error for name, gain in up.items() if (error := row["errors"][name])), default=0.0)

    best = max(result.get("tuned_baselines", ()), key=sureness, default=None)
    if best is None or sureness(best) < SURE:
        return []
    moved = joined([f"{gain:+.3g} in {name}" for name, gain in gains(best).items()])
    return [f"Without FreeU, {apart(best['sampling'], base['sampling'])} is at {moved} on the search's prompts."]


def _known(name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_yaml(path("metrics.yaml")).get(name, {})
    return found


def _words(name: str, searched: set[str]) -> list[str]:
    causes = _known(name).get("rises_with", ())
    return [_worded(each) for each in causes if each != "guidance" or each in searched]


def _worded(cause: str) -> str:
    return f"less {cause[1:]}" if cause.startswith("-") else cause


def _moved(name: str, pick: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """What a metric rises with and a finalist has more of than the baseline, with by how much."""
    shifts, own = pick.get("guardrails", {}), result.get("guidance")
    found = []
    for cause in _known(name).get("rises_with", ()):
        if cause == "guidance":
            scale = pick.get("sampling", {}).get("guidance", own)
            found += [f"guidance, {scale:g} for {own:g}"] if own is not None and scale > own else []
        else:
            shift = shifts.get(cause.removeprefix("-"), 0.0) * (-1 if cause.startswith("-") else 1)
            found += [f"{_worded(cause)}, by {shift:.1f} of the spread between seeds"] if shift >= MARKED else []
    return found


def _better(rows: Mapping[str, Mapping[str, Any]], directions: Mapping[str, str]) -> list[str]:
    return [
        name for name, row in rows.items()
        if name in directions and measurable(row) and (row["difference"] > 0) == (directions[name] == "up")
    ]  # fmt: skip
