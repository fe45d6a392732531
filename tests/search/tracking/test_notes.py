"""What MLflow is told of a tuned baseline, and of a pick beside it."""

from __future__ import annotations

from pathlib import Path

from search.tracking.notes import trial_name, trial_note
from search.tracking.tables import held_out_metrics, study_metrics
from tests.search import made


def test_a_pick_beside_its_rival(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    result = made.with_rival(folder)
    records = folder.read_trials()
    picks = [pick for pick in result["picks"] if pick["number"] == 1]
    metrics = held_out_metrics(picks[0])
    assert (metrics["held_out/clip.rival.difference"], metrics["held_out/aesthetic.rival.p_holm"]) == (0.1, 2e-3)
    assert "held_out/aesthetic.rival.low" not in metrics and "held_out/fid.rival.difference" not in metrics
    told = study_metrics(result, records[0])
    assert told["clip.rival.difference"] == 0.1 and told["clip.difference"] == picks[0]["scores"]["clip"]["difference"]
    said = "Minus its rival, FreeU off at guidance 4 (trial 5): clip +0.1 [+0.05, +0.15], aesthetic -0.5."
    assert trial_note(records[1], records[0], picks).endswith(said)


def test_a_tuned_baseline_is_no_baseline_by_name(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    made.with_rival(folder)
    records = folder.read_trials()
    assert [trial_name(records[number]) for number in (0, 5)] == ["#00 baseline", "#05 FreeU off, guidance 4"]
