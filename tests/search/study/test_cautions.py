"""Warnings of what an objective may rise by without a better image."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from configs import path, read_yaml
from metrics.registry import METRICS
from search.evaluation.guardrails import OF_VIDEOS
from search.reporting import pages
from search.settings.job import prepare
from search.settings.reading import load
from search.study.cautions import before, beside
from search.study.plan import plan as make_plan
from search.study.printed_result import tables
from tests.search import made

OBJECTIVES = {"clip": "up", "hps": "up", "fid": "down"}
SHAPES = {"clip": "up", "aesthetic": "up", "fid": "down"}


def plan(objectives: dict[str, str], n: int = 48, searched: tuple[str, ...] = ("b1",)) -> list[str]:
    space = SimpleNamespace(dimensions=[SimpleNamespace(name=name) for name in searched])
    return before(SimpleNamespace(space=space, directions=objectives, prompts=range(n)))  # type: ignore[arg-type]


def row(difference: float, p: float = 0.01) -> dict[str, Any]:
    return {"difference": difference, "p_holm": p}


def result(scores: dict, judges: dict | None = None, **changes: Any) -> dict[str, Any]:
    pick = {
        "pick": "best-clip",
        "number": 7,
        "scores": scores,
        "judges": judges or {},
        "guardrails": {},
        "sampling": {},
    }
    pick |= {key: changes.pop(key) for key in ("guardrails", "sampling") if key in changes}
    found = {"objectives": OBJECTIVES, "judges": {"kid": "down", "pickscore": "up"}, "guidance": 5.0, "verdict": "So."}
    return {**found, **changes, "picks": [pick, {**pick, "pick": "balanced"}]}


def test_what_is_known_of_metrics_names_guardrails_and_kinds() -> None:
    known = read_yaml(path("metrics.yaml"))
    for name, each in known.items():
        assert {cause.removeprefix("-") for cause in each.get("rises_with", ())} <= {"guidance", *OF_VIDEOS}, name
        assert ("of_sets" in each) == (not METRICS[name].per_image), name


def test_a_plan_names_what_can_move() -> None:
    fixed, searched = plan(OBJECTIVES), plan(OBJECTIVES, searched=("b1", "guidance"))
    assert fixed[0].startswith(
        "clip rises with sharpness, hps rises with saturation and colourfulness, better images or not:"
    )
    assert (
        "clip rises with guidance and sharpness, hps rises with guidance, saturation and colourfulness" in searched[0]
    )
    assert fixed[1] == "at 48 images fid is biased and noisy: compare at equal n only"
    assert len(plan(OBJECTIVES, n=5000)) == 1 and plan({"vqa": "up", "my own": "up"}) == []


def test_a_gain_with_its_artefact_is_told_once() -> None:
    rails = {"saturation": 0.7, "sharpness": 0.4}
    told = beside(result({"clip": row(1), "hps": row(1)}, guardrails=rails, sampling={"guidance": 7.5}))
    assert told == [
        "best-clip = balanced (trial 7): with clip rose what raises it without a better image, guidance, 7.5 for 5.",
        "best-clip = balanced (trial 7): with hps rose what raises it without a better image, guidance, 7.5 for 5 and "
        "saturation, by 0.7 of the spread between seeds.",
    ]


@pytest.mark.parametrize("scores", [{"clip": row(1, 0.2)}, {"clip": row(-1)}, {"fid": row(-1)}, {}])
def test_without_a_gain_that_has_a_cause_nothing_is_told(scores: dict) -> None:
    assert beside(result(scores, guardrails={"sharpness": 0.9, "saturation": 0.9}, sampling={"guidance": 9})) == []


def test_less_of_a_measure_raises_what_still_pictures_please() -> None:
    found = result({"flicker": row(1)}, objectives={"flicker": "up"}, guardrails={"motion": -0.8})
    assert beside(found)[0].endswith("without a better image, less motion, by 0.8 of the spread between seeds.")
    assert beside(result({"flicker": row(1)}, objectives={"flicker": "up"}, guardrails={"motion": 0.8})) == []


def test_a_gain_against_all_judges_is_told_unless_the_verdict_does() -> None:
    against = {"kid": row(1), "pickscore": row(-1, 0.4)}
    said = "best-clip = balanced (trial 7): clip moved against all judges that tell (kid)."
    assert beside(result({"clip": row(1)}, against)) == [said]
    verdict = "FreeU raises the objectives here, but the judges disagree: best-clip = balanced (trial 7) is better."
    assert beside(result({"clip": row(1)}, against, verdict=verdict)) == []
    assert beside(result({"clip": row(1)}, {**against, "pickscore": row(1)})) == []
    assert beside(result({"clip": row(1, 0.3)}, against)) == []


def test_a_dry_run_prints_them(tmp_path: Path) -> None:
    lines = make_plan(prepare(load(None, {"mlruns": tmp_path}))).lines()
    assert [line for line in lines if line.startswith("mind ")] == [f"mind        {each}" for each in plan(SHAPES)]


def test_terminal_and_report_say_it_beside_the_result(tmp_path: Path) -> None:
    folder = made.study(tmp_path)
    found = json.loads(folder.result.read_text())
    first = found["picks"][0]
    first["scores"]["clip"] |= {"difference": 1.0, "p_holm": 0.01}
    first["guardrails"] = {"sharpness": 0.8}
    folder.result.write_text(json.dumps(found))
    said = "with clip rose what raises it without a better image, sharpness, by 0.8 of the spread between seeds."
    console = Console(width=400, record=True)
    tables(console, found)
    assert console.export_text().count(said) == 1
    assert pages.report(folder).text.count(said) == 1


def scored(clip: float, hps: float, fid: float, guidance: float, errors: float | None) -> dict[str, Any]:
    expected = {"clip": clip, "hps": hps, "fid": fid}
    return {"expected": expected, "errors": dict.fromkeys(expected, errors), "sampling": {"guidance": guidance}}


@pytest.mark.parametrize(("clip", "fid", "said"), [(92.0, 88.3, True), (90.4, 87.2, False), (90.0, 83.0, True)])
def test_what_guidance_alone_does_is_said_where_it_is_nobodys_rival(clip: float, fid: float, said: bool) -> None:
    """Beyond two errors of 0.9: in clip by 2, in fid by less 4; 0.4 in clip is luck."""
    told = {
        "baseline": scored(90.0, 0.25, 87.0, 5.0, None),
        "tuned_baselines": [scored(90.1, 0.25, 87.0, 4.0, 0.9), scored(clip, 0.25, fid, 10.0, 0.9)],
    }
    lines = beside(result({"clip": row(0.1, p=0.5)}, **told))
    assert lines == (
        [
            f"Without FreeU, guidance 10 is at {clip - 90:+.3g} in clip, +0 in hps and {fid - 87:+.3g} in fid on the "
            "search's prompts."
        ]
        if said
        else []
    )


def test_a_finalists_rival_is_not_told_twice() -> None:
    told = {
        "baseline": scored(90.0, 0.25, 87.0, 5.0, None),
        "tuned_baselines": [scored(95.0, 0.25, 87.0, 10.0, 0.9)],
    }
    found = result({"clip": row(0.1, p=0.5)}, **told)
    found["picks"][0]["against"] = {"tuned_baseline": {}}
    assert beside(found) == []
