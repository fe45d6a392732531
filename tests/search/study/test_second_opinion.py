"""What judges add to a verdict, and that they cost the objectives nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from freeu import Candidate, Factors
from search.evaluation import Evaluator, Evaluators
from search.optimizer.pareto_front import Pick
from search.storage import StudyFolder
from search.study.confirmation import confirm
from search.study.held_out import HeldOut, rows_of
from search.study.looks import Looks
from search.study.second_opinion import opinion
from search.study.verdict import Judges, verdict
from search.workers import SingleWorker
from tests.search.fakes import BEST, FakeGenerator, FakeMetric

PICKS = (Pick("knee", 3),)
DIRECTIONS = {"clip": "up"}
DOWN = {"kid": "down"}


def row(difference: float, sure: bool = True, won: float | None = 0.6) -> dict[str, Any]:
    width = abs(difference) / 2 if sure else 2 * abs(difference) + 1
    return {
        **{"value": difference, "base": 0.0, "difference": difference, "n": 48, "prompts": 48, "detectable": 0.5},
        **{"low": difference - width, "high": difference + width, "p_holm": 0.01 if sure else 0.7, "win_rate": won},
    }


def said(judges: dict[str, dict[str, Any]], directions: dict[str, str] | None = None, gain: float = 1.0) -> Any:
    ways = dict.fromkeys(judges, "up") | (directions or {})
    return verdict(PICKS, {3: {"clip": row(gain)}}, DIRECTIONS, 1, judges=Judges(ways, {3: judges}))


def test_a_gain_that_a_judge_shares() -> None:
    found = said({"objects": row(2.0), "kid": row(0.1, sure=False, won=None)})
    assert found.number == 3 and found.text.startswith("FreeU helps here: knee (trial 3) is better")
    assert "Judges that the search never read share the gain: objects by +2 [1, 3]." in found.text
    assert found.text.endswith("No measurable difference in kid.")


def test_a_gain_that_no_judge_shares_is_called_that() -> None:
    """However narrow their intervals: a judge that measures something else is as silent on a true gain."""
    still = row(0.0, sure=False) | {"low": 0.0, "high": 0.0}
    found = said({"objects": row(-0.1, sure=False), "kid": row(0.1, sure=False, won=None), "still": still}, DOWN)
    assert found.number == 3
    assert found.text.startswith("FreeU helps here by the objectives alone, and the judges can't tell: ")
    assert (
        "No judge measurably shares this gain, and none is against it: objects, kid and still (with 80 % power"
        in found.text
    )
    assert found.text.endswith("It may be an artefact that the objectives like, or lie in what none measures.")


def test_a_gain_that_a_judge_contradicts_is_not_taken_away() -> None:
    found = said({"pickscore": row(-0.4, won=0.42), "kid": row(0.1, sure=False)}, {"kid": "down"})
    assert found.number is None
    assert found.text.startswith("FreeU raises the objectives here, but the judges disagree: ")
    assert (
        "But pickscore prefers the baseline in 58 % of pairs (by -0.4 [-0.6, -0.2]), and no judge shares" in found.text
    )


def test_a_distance_that_grows_is_a_loss() -> None:
    assert said({"kid": row(3.0, won=None)}, {"kid": "down"}).number is None
    assert said({"kid": row(-3.0, won=None)}, {"kid": "down"}).number == 3


def test_judges_that_are_divided() -> None:
    found = said({"pickscore": row(-0.4, won=0.42), "objects": row(2.0)})
    assert found.number == 3 and "the judges are divided" in found.text
    assert (
        "some share the gain (objects by +2 [1, 3]), but pickscore prefers the baseline in 58 % of pairs" in found.text
    )


def test_judges_are_not_heard_where_there_is_no_gain() -> None:
    alone = verdict(PICKS, {3: {"clip": row(0.1, sure=False)}}, DIRECTIONS, 1)
    judges = Judges({"objects": "up"}, {3: {"objects": row(5.0)}})
    assert verdict(PICKS, {3: {"clip": row(0.1, sure=False)}}, DIRECTIONS, 1, judges=judges) == alone
    assert opinion([], [], {}).text == ""


TEXTS = [f"p{i}" for i in range(32)]


def confirmed(folder: Path, judges: tuple[str, ...], ends: tuple[int, ...] = (16, 32), **more: Any) -> Any:
    """A finalist that is bright in channel 0 (clip, and the judge `bright`) and dark in channel 1 (`dark`)."""
    metrics = [FakeMetric("clip", 0), FakeMetric("bright", 0), FakeMetric("dark", 1), FakeMetric("still", 2)]
    held = {m.name: m for m in metrics if m.name == "clip" or m.name in judges}
    generator = more.pop("generator", FakeGenerator())
    crew = SingleWorker(Evaluators({"confirm": Evaluator(generator, held, TEXTS, range(32))}))
    drawn = HeldOut(StudyFolder(folder, "s"), crew, rows_of(TEXTS, ends[-1], 0, 1), judges=judges)
    finalists = {3: Candidate(Factors(*BEST))}
    return confirm(drawn, finalists, ("clip",), Looks(1, ends), 0, judges=judges)


def test_judges_are_compared_and_change_no_objective(tmp_path: Path) -> None:
    without, judged = confirmed(tmp_path / "a", ()), confirmed(tmp_path / "b", ("bright", "dark"))
    assert without.judged == {3: {}} and set(judged.judged[3]) == {"bright", "dark"}
    assert judged.rows == without.rows
    assert judged.judged[3]["bright"]["difference"] > 0 > judged.judged[3]["dark"]["difference"]
    assert judged.judged[3]["bright"]["p_holm"] < 0.05


def test_a_judge_that_never_moves_is_not_waited_for(tmp_path: Path) -> None:
    found = confirmed(tmp_path, ("still",))
    assert [each["images"] for each in found.looks] == [16]
    assert found.judged[3]["still"]["difference"] == 0 and found.judged[3]["still"]["p_holm"] == 1


def test_images_that_other_judges_scored_are_drawn_again(tmp_path: Path) -> None:
    confirmed(tmp_path, ("bright",))
    again = FakeGenerator()
    confirmed(tmp_path, ("bright",), generator=again)
    assert again.calls == []
    assert set(confirmed(tmp_path, ("dark",), generator=again).judged[3]) == {"dark"} and again.calls
