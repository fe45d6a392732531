"""What a study's report shows, section by section: plain values for the template, and JSON for its scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import open_image
from configs.cli import visible
from freeu import Sampling
from freeu.presets.sampled import in_words
from search.reporting import downloads, embedded_images, front_plots, held_out_pairs, history_plots, pair_cards
from search.reporting.templating import rounded
from search.storage import StudyFolder, TrialRecord
from search.storage.image_grid import LIMIT
from search.study import cautions, reproduce, rival, set_distances
from search.study.verdict import CHANCE, may_be_chance, measurable
from search.terminal.progress import duration, out_of_bounds
from search.terminal.study_status import of_result
from search.voting import booth, wording

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.reporting.held_out_pairs import Pairs
    from search.reporting.pair_cards import Cards

TRIALS = 64  # whose images are shown
REST = 5.8e6  # characters of a page without its images: plotly takes 4.8 million
PAIRS, GRIDS = 0.75, 0.25  # of the images' room: the held-out prompts, the trials
FACTORS = ("b1", "b2", "s1", "s2")


def sections(
    folder: StudyFolder, result: Mapping[str, Any], room: float = 9e6, files: str | None = None
) -> tuple[dict[str, Any], dict[str, Path]]:
    """(the template's variables, of which `data` is for the scripts; the files that go beside the page, as
    `pair_cards.Cards` has them). result: as result.json holds it, or `so_far`.

    room: characters that images may take. files: the address of the folder for those files; None where there is none.
    """
    records, part = of_result(folder.read_trials(), result) if folder.result.exists() else (folder.read_trials(), "")
    votes = booth.told(folder, result) if result["picks"] else None
    kept, config = held_out_pairs.read(folder, result), folder.read_settings()
    base = next((record.number for record in records if record.complete and record.candidate.baseline), None)
    picks, trials = _picks(result, base), [_trial(record, result) for record in records]
    shown = None if kept is None else _cards(folder, kept, result, room * PAIRS, files)
    fronts, how = front_plots.front_figures(records, result), history_plots.figures(records, result["objectives"])
    variables = {
        "study": folder.name,
        "result": result,
        "cautions": cautions.beside(result),
        "set_distances": set_distances.lines(result),
        "verdict": wording.verdicts(result, votes),
        "votes": votes,
        "votes_so_far": wording.so_far(votes) if votes is not None and not votes["over"] else "",
        "vote_notes": wording.lines(votes) if votes is not None else [],
        "finished": folder.result.exists(),
        "searched": {} if folder.result.exists() else {each.number: each.values for each in records if each.complete},
        "facts": ({"Result": part} if part else {}) | _facts(result, records, config),
        "base": {name: score["base"] for pick in result["picks"] for name, score in pick["scores"].items()},
        "base_error": {name: score["error"] for row in picks for name, score in row["scores"].items()},
        "unpicked": [pick["pick"] for pick in result["picks"] if pick["number"] == base],
        "picks": picks,
        "starred": any(map(measurable, rival.compared(result["picks"]))),
        "chance": CHANCE if any(map(may_be_chance, rival.compared(result["picks"]))) else "",
        "trials": trials,
        "settings": any(row["settings"] for row in trials),
        "fronts": [unescape(figure.layout.title.text) for figure in fronts],
        "course": list(how),
        "explained": history_plots.EXPLAINED,
        "fewest": held_out_pairs.FEWEST,
        "failed": [record for record in records if not record.complete and not record.interrupted],
        "pairs": kept,
        "categories": held_out_pairs.by_category(kept) if kept is not None else [],
        "guardrails": _guardrails(result, records),
        "command": reproduce.command(folder.name, config, result["trials"]),
        "versions": result.get("versions", {}),
        "hashes": reproduce.hashes(config["fingerprint"]),
        "data": {
            "figures": [_plain(figure) for figure in (*fronts, *how.values())],
            "trials": _viewed(folder, result, records, base, room * GRIDS),
            "base": base,
            "pairs": None if shown is None else shown.data,
            "tables": downloads.tables(result, records, kept),
        },
    }
    return variables, {} if shown is None else shown.beside


def _facts(result: Mapping[str, Any], records: Sequence[TrialRecord], config: Mapping[str, Any]) -> dict[str, str]:
    seconds = sum(record.seconds.get("total", 0.0) for record in records)
    failed = sum(not record.complete and not record.interrupted for record in records)
    images = sum(record.images for record in records)
    scores = [score for pick in result["picks"] for score in pick["scores"].values()]
    held_out = max((score.get("prompts", score["n"]) for score in scores), default=0)
    prompts = config["fingerprint"].get("prompts", "")
    return {
        "Base model": str(result["model"]),
        "FreeU": f"version {config.get('version')}, stages by {config.get('stages')}",
        **({"Sampling settings": said} if (said := in_words(Sampling.from_dict(result.get("sampling", {})))) else {}),
        "Trials": f"{result['trials']} complete, {failed} failed",
        "Prompts": f"{prompts} for the search, {held_out or 'none'} held out",
        "Images of the search": f"{images:,}",
        "Time of the search": duration(seconds),
    }


def _picks(result: Mapping[str, Any], base: int | None) -> list[dict[str, Any]]:
    """A row for each picked candidate but the baseline, which is trial `base`: what it got on the held-out prompts.

    `rival`: as `search.study.rival.of_pick` has it, its scores as those of the pick.
    A score has `reach`: the largest end of all intervals of its objective, to draw them to one scale.
    """
    grouped: dict[int, list[Mapping[str, Any]]] = {}
    for pick in result["picks"]:
        if pick["number"] != base:
            grouped.setdefault(pick["number"], []).append(pick)
    rows = []
    for number, same in grouped.items():
        row = {"names": [pick["pick"] for pick in same], "number": number, "factors": same[0]["factors"]}
        against = rival.of_pick(same[0])
        for side, of in ((row, same[0]), *([] if against is None else [(against, against)])):
            side["scores"] = _marked(of["scores"], result["objectives"])
            side["judges"] = _marked(of.get("judges", {}), result.get("judges", {}))
        rows.append(row | {"rival": against})
    sides = [side for row in rows for side in (row, row["rival"]) if side is not None]
    for kind, name in [("scores", name) for name in result["objectives"]] + [
        ("judges", name) for name in result.get("judges", {})
    ]:
        scores = [side[kind][name] for side in sides if name in side[kind]]
        ends = [abs(score[end]) for score in scores for end in ("low", "high") if score[end] is not None]
        for score in scores:
            score["reach"] = max(ends, default=0.0) or 1.0
    return rows


def _marked(scores: Mapping[str, Mapping[str, Any]], directions: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The scores with `sure`, `kind` (better, worse or unclear) and `error`, one standard error of the difference."""
    found = {}
    for name, score in scores.items():
        gain, sure = score["difference"] * (1 if directions[name] == "up" else -1), measurable(score)
        kind = "unclear" if not sure else "better" if gain > 0 else "worse"
        error = None if score["low"] is None else (score["high"] - score["low"]) / 4
        found[name] = {**score, "sure": sure, "kind": kind, "error": error}
    return found


def _trial(record: TrialRecord, result: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the table of all trials."""
    picks = [pick["pick"] for pick in result["picks"] if pick["number"] == record.number]
    front = any(row["number"] == record.number for row in result["front"])
    within = "" if not record.guardrails else _bounds(record)
    settings = rival.named(record.sampling)
    return {"record": record, "picks": picks, "front": front, "within": within, "settings": settings}


def _guardrails(result: Mapping[str, Any], records: Sequence[TrialRecord]) -> dict[str, Any] | None:
    """Measure → pick → shift, and how many trials broke it; None where they were off."""
    guarded = [record for record in records if record.complete and record.guardrails]
    if not guarded:
        return None
    rails = {record.number: record.guardrails for record in guarded}
    picked: dict[int, str] = {}
    for pick in result["picks"]:
        picked.setdefault(pick["number"], pick["pick"])
    shifts = {number: rails[number] for number in picked if number in rails}
    return {
        "trials": len(guarded),
        "outside": sum(not record.feasible for record in guarded),
        "picks": [f"{picked[number]} (trial {number})" for number in shifts],
        "rows": {
            name: {
                "shifts": [each.get(name, 0.0) for each in shifts.values()],
                "broken": sum(abs(record.guardrails.get(name, 0.0)) > 1 for record in guarded),
            }
            for name in dict.fromkeys(name for record in guarded for name in record.guardrails)
        },
    }


def _plain(figure: go.Figure) -> dict[str, Any]:
    """A figure in JSON's types; the page brings its own colours and title."""
    found: dict[str, Any] = json.loads(figure.to_json())
    for name in ("template", "title", "height"):
        found["layout"].pop(name, None)
    return found


def _viewed(
    folder: StudyFolder, result: Mapping[str, Any], records: Sequence[TrialRecord], base: int | None, room: float
) -> dict[str, Any]:
    """Trial → what the viewer shows of it. The images of at most 64 trials, the front and the picks before all."""
    done = [record for record in records if record.complete]
    first = {base, *(each["number"] for each in (*result["picks"], *result["front"]))}
    fixed = ("baseline", "published")
    chosen = sorted(done, key=lambda record: (record.number not in first, record.origin not in fixed))[:TRIALS]
    files = {str(record.number): folder.grid_file(record.number) for record in chosen}
    images = embedded_images.embedded(files, int(room))
    values = {record.number: record.values for record in done}
    shown: dict[str, Any] = {}
    for record in done:
        rows = {name: f"{getattr(record.factors, name):.3f}" for name in FACTORS}
        if settings := rival.named(record.sampling):
            rows["settings"] = settings
        for name, value in record.values.items():
            rows[name] = rounded(value.value, value.paired)
            if base is not None and record.number != base:
                difference = value.value - values[base][name].value
                rows[f"{name}, difference"] = (
                    f"{rounded(difference, value.paired, True)} {_error(value.paired)}".strip()
                )
        if record.guardrails:
            rows["guardrails"] = _bounds(record)
        rows["scored by"] = f"{record.images} prompts"
        shown[str(record.number)] = {
            "title": visible(f"Trial {record.number}: {record.origin}"),
            "rows": {visible(name): value for name, value in rows.items()},
            "image": images.get(str(record.number)),
            "prompts": min(record.images, LIMIT),
            "width": _width(files[str(record.number)]) if str(record.number) in images else 0,
        }
    return shown


def _bounds(record: TrialRecord) -> str:
    """Whether it is within the guardrails, or else which are broken, with a true minus."""
    return "within" if record.feasible else out_of_bounds(record.guardrails).replace("-", "−")


def _error(error: float) -> str:
    return f"± {error:.2g}" if math.isfinite(error) else ""


def _width(file: Path) -> int:
    """Pixels of an image file."""
    with open_image(file) as image:
        return int(image.width)


def _cards(folder: StudyFolder, kept: Pairs, result: Mapping[str, Any], room: float, files: str | None) -> Cards:
    opened = str(_opened(result, kept))
    return pair_cards.cards(kept.pairings(folder), kept.directions, opened, room, files)


def _opened(result: Mapping[str, Any], kept: Pairs) -> int:
    """The trial that the verdict stands on, or else the most promising finalist."""
    taken = [pick["number"] for pick in result["picks"] if pick["pick"] == result.get("take_away")]
    finalists = [*taken, *result.get("finalists", []), *kept.picks]
    return next(int(number) for number in finalists if number in kept.picks)
