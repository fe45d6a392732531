"""A study in a real MLflow store on SQLite: what is there in the end, after kills, beside foreign files."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs import UserError
from freeu import IDENTITY, Factors
from search.reporting.history_plots import history as histories
from search.reporting.mlflow_page import study_page
from search.storage import TrialRecord, Value
from search.storage.image_grid import difference, image_grid, save_grid
from search.storage.mlflow_location import EXPERIMENT, check_folder, mlflow_settings, page_path, settle
from search.tracking import Tracker
from search.tracking.tables import front_table, ranks, shown

DIRECTIONS = {"clip": "up", "aesthetic": "up", "fid": "down"}
CONFIG = {
    "model": "shapes",
    "vae": None,
    "trials": 3,
    "generation": {"steps": 20},
    "objectives": ["clip", "aesthetic", "fid"],
}


def test_an_experiment_that_another_one_makes_just_now_is_taken(tmp_path: Path, monkeypatch: Any) -> None:
    """Two commands that begin at once on a fresh database."""
    from mlflow import MlflowClient

    uri, look = f"sqlite:///{tmp_path}/team.db", MlflowClient.get_experiment_by_name
    Tracker(tmp_path / "a", "a", uri).open()
    calls: list[str] = []

    def first_none(self: Any, name: str) -> Any:
        calls.append(name)
        return None if len(calls) == 1 else look(self, name)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", first_none)
    monkeypatch.setattr(MlflowClient, "search_experiments", lambda self, *given, **named: [])
    Tracker(tmp_path / "b", "b", uri).open()
    assert calls == [EXPERIMENT] * 2


def record(number: int, state: str = "COMPLETE", reason: str | None = None) -> TrialRecord:
    spreads = {"clip": 0.01, "aesthetic": 0.1, "fid": float("nan")}
    values = {name: Value(number + 0.5, 1.0, 48, DIRECTIONS[name], spread) for name, spread in spreads.items()}
    origin = ("baseline", "published")[number] if number < 2 else "sobol"
    return TrialRecord(
        number=number,
        factors=Factors(1.0 + number / 10, 1.2, 0.9, 0.2),
        origin=origin,
        state=state,
        values=values if state == "COMPLETE" else {},
        seconds={"generate": 2.0, "score": 0.5, "total": 2.5},
        images=48,
        unet_evaluations=1920,
        rungs={12: {"clip": 1.0}, 48: {"clip": 2.0}},
        reason=reason,
    )


def result(front: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    rows = [{"number": n, "factors": record(n).factors.as_dict(), "clip": n + 0.5} for n in front]
    score = {"value": 0.31, "base": 0.3, "difference": 0.01, "low": -0.01, "high": 0.03, "n": 96}
    picks = [{"pick": "knee", "number": front[-1], "factors": rows[-1]["factors"], "scores": {"clip": score}}]
    return {
        "study": "s",
        "objectives": DIRECTIONS,
        "front": rows,
        "picks": picks,
        "verdict": "FreeU <b>may</b> help",
    }


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose tables are made, since making them takes seconds."""
    mlruns = tmp_path_factory.mktemp("empty") / "mlruns"
    Tracker(mlruns, "first").start(CONFIG, "f", {})
    return mlruns / "mlflow.db"


@pytest.fixture
def mlruns(tmp_path: Path, empty: Path) -> Path:
    """A results folder of its own, with a study in the background that no test touches."""
    folder = tmp_path / "mlruns"
    folder.mkdir()
    (folder / "mlflow.db").write_bytes(empty.read_bytes())
    with sqlite3.connect(folder / "mlflow.db") as connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", ((folder / "artifacts").as_uri(),))
    return folder


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    file = tmp_path / "0000.png"
    save_grid(torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8), file)
    return file


def started(mlruns: Path, config: dict[str, Any] = CONFIG) -> Tracker:
    tracker = Tracker(mlruns, "s")
    tracker.start(config, "fingerprint", {"model": "shapes"})
    return tracker


def runs(mlruns: Path) -> tuple[Any, list[Any]]:
    """The run of study "s", and its children by trial."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow_settings(mlruns).uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`freeu.study` = 's'")
    children = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    return parent, sorted(children, key=lambda run: int(run.data.tags["freeu.trial"]))


def running(mlruns: Path) -> int:
    """Runs left RUNNING by study "s", deleted ones too."""
    with sqlite3.connect(mlruns / "mlflow.db") as connection:
        query = "SELECT COUNT(*) FROM runs WHERE status = 'RUNNING' AND name != 'first'"
        return connection.execute(query).fetchone()[0]


def artifacts(run: Any) -> set[str]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {file.name for file in folder.iterdir()} if folder.is_dir() else set()


def test_a_study(mlruns: Path, grid: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("# shapes")
    tracker = Tracker(mlruns, "s")
    tracker.start(CONFIG, "fingerprint", {"model": "shapes"}, files=[card])
    records = [record(0), record(1), record(2), record(3, "FAIL", "CUDA out of memory")]
    for one in records:
        tracker.trial(one, grid if one.state == "COMPLETE" else None, None)
        tracker.trial(one, grid, None)  # a second call does nothing
    assert tracker.missing(range(5)) == [4]
    tracker.finish(result(), records)

    parent, children = runs(mlruns)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "s"
    assert parent.data.params["generation.steps"] == "20"
    assert "vae" not in parent.data.params  # it was not set
    assert parent.data.tags["freeu.fingerprint"] == "fingerprint"
    assert parent.data.tags["mlflow.note.content"] == "FreeU <b>may</b> help"
    assert {
        "config.yaml",
        "card.md",
        "front.json",
        "front.html",
        "front_table.json",
        "result.json",
        "images",
    } <= artifacts(parent)

    assert [run.info.status for run in children] == ["FINISHED", "FINISHED", "FINISHED", "FAILED"]
    assert children[1].info.run_name == "#01 published"
    assert children[1].data.params["origin"] == "published"
    assert float(children[1].data.params["b1"]) == records[1].factors.b1
    assert children[1].data.metrics["clip"] == 1.5
    assert children[1].data.metrics["clip.difference.se"] == 0.01
    assert "fid.difference.se" not in children[1].data.metrics  # it has none: not written as 0
    assert children[1].data.metrics["images_per_second"] == 24.0
    assert children[1].data.metrics["unet_evaluations"] == 1920
    assert children[1].data.metrics["rung"] == 2
    assert [run.data.metrics.get("rank") for run in (parent, *children)] == [0, 2, 1, 1, None]
    assert [run.data.tags["freeu.front"] for run in children] == ["no", "yes", "yes", "no"]
    assert [run.data.tags.get("freeu.picks") for run in children] == [None, None, "knee", None]
    assert children[2].info.run_name == "#02 knee"
    assert children[2].data.metrics["held_out/clip.difference"] == 0.01
    assert "held_out/clip" not in {**children[1].data.metrics, **parent.data.metrics}
    assert children[3].data.tags["freeu.reason"] == "CUDA out of memory"
    assert artifacts(children[0]) == {"0000.png"}
    assert 2400 < children[0].info.end_time - children[0].info.start_time < 60_000  # ms: the trial's, not the logging's


def test_the_study_s_run_grows_while_it_runs(mlruns: Path, grid: Path) -> None:
    from mlflow import MlflowClient

    tracker = started(mlruns)
    for number in range(3):
        tracker.trial(record(number), grid, None)
    parent, _ = runs(mlruns)
    history = MlflowClient(tracking_uri=mlflow_settings(mlruns).uri).get_metric_history(parent.info.run_id, "trial/fid")
    assert [(point.step, point.value) for point in history] == [(0, 0.5), (1, 1.5), (2, 2.5)]
    assert parent.info.status == "RUNNING"
    assert parent.data.tags["mlflow.note.content"].startswith("No verdict yet")


def test_resume_after_a_kill(mlruns: Path, grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = started(mlruns)
    tracker.trial(record(0), grid, None)

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracker._runs.client, "set_terminated", killed)  # dies with trial 1 half logged
        tracker.trial(record(1), grid, None)
    assert running(mlruns) == 2
    before = [run.info.run_id for run in runs(mlruns)[1]]

    again = started(mlruns, CONFIG | {"trials": 5})
    assert again.missing(range(3)) == [1, 2]
    for number in range(3):
        again.trial(record(number), grid, None)
    again.finish(result(), [record(n) for n in range(3)])
    parent, children = runs(mlruns)
    assert [run.data.tags["freeu.trial"] for run in children] == ["0", "1", "2"]
    assert parent.data.params["trials"] == "3"
    assert parent.data.tags["resumed.trials"] == "5"
    assert running(mlruns) == 0
    assert [run.info.run_id for run in children[:2]] == before  # half a trial goes on; nothing is thrown away
    assert artifacts(children[1]) == {"0000.png"}


def test_a_later_front_replaces_the_first(mlruns: Path) -> None:
    tracker = started(mlruns)
    for number in range(3):
        tracker.trial(record(number), None, None)
    tracker.finish(result((1, 2)), [record(n) for n in range(3)])
    again = started(mlruns)
    again.finish(result((0,)), [record(n) for n in range(3)])
    parent, children = runs(mlruns)
    table = json.loads((Path(parent.info.artifact_uri.removeprefix("file://")) / "front_table.json").read_text())
    assert [row[table["columns"].index("trial")] for row in table["data"]] == [0]
    assert [run.data.tags["freeu.front"] for run in children] == ["yes", "no", "no"]


def test_interrupt(mlruns: Path) -> None:
    Tracker(mlruns, "s").interrupt()  # before the start: nothing to do
    tracker = started(mlruns)
    tracker.interrupt()
    assert runs(mlruns)[0].info.status == "KILLED"
    tracker = started(mlruns)
    tracker.finish(result((0,)), [record(0)])
    tracker.interrupt()
    assert runs(mlruns)[0].info.status == "FINISHED"


def test_a_deleted_experiment_comes_back(mlruns: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow_settings(mlruns).uri)
    client.delete_experiment(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    started(mlruns).trial(record(0), None, None)
    assert len(runs(mlruns)[1]) == 1


def test_a_store_elsewhere_is_left_alone(mlruns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the working directory's old mlruns nor MLFLOW_TRACKING_URI moves the results."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "mlruns" / "0").mkdir(parents=True)
    (elsewhere / "mlruns" / "0" / "meta.yaml").write_text("name: old")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/other.db")
    started(mlruns).trial(record(0), None, None)
    assert len(runs(mlruns)[1]) == 1
    assert not (elsewhere / "other.db").exists()


def test_foreign_folders_are_refused_and_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UserError, match="not a folder"):
        check_folder(file)

    old = tmp_path / "old"
    (old / "0").mkdir(parents=True)
    (old / "0" / "meta.yaml").write_text("name: Default")
    with pytest.raises(UserError, match=r"0/meta\.yaml"):
        check_folder(old)

    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match="can't be read as a database"):
        check_folder(broken)

    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with sqlite3.connect(foreign / "mlflow.db") as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    before = (foreign / "mlflow.db").read_bytes()
    with pytest.raises(UserError, match="not MLflow's"):
        Tracker(foreign, "s")
    assert (foreign / "mlflow.db").read_bytes() == before


def test_another_mlflow_s_schema_is_refused(mlruns: Path) -> None:
    with sqlite3.connect(mlruns / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '000000000000'")
    with pytest.raises(UserError, match="mlflow db upgrade"):
        started(mlruns)


def test_the_page_of_a_study(mlruns: Path, tmp_path: Path) -> None:
    settings, ending = mlflow_settings(mlruns), "?workflowType=machine_learning"
    assert re.fullmatch(r"/#/experiments/1/runs/[0-9a-f]{32}" + re.escape(ending), page_path(settings))  # the only one
    started(mlruns)
    parent, _ = runs(mlruns)
    assert page_path(settings) == f"/#/experiments/1/runs{ending}"
    assert page_path(settings, "s") == f"/#/experiments/1/runs/{parent.info.run_id}{ending}"
    with pytest.raises(UserError, match="no run of study 'x'"):
        page_path(settings, "x")
    assert page_path(mlflow_settings(tmp_path / "none")) == "/"
    viewed = Tracker(mlruns, "s")
    viewed.start(CONFIG, "fingerprint", {}, directions=DIRECTIONS)
    assert page_path(settings) == f"/#/experiments/1/runs{ending}&viewStateShareKey=freeu"
    assert page_path(settings, "s") == f"/#/experiments/1/runs{ending}&viewStateShareKey=freeu-s"


def test_the_runs_say_what_they_were_made_with(mlruns: Path) -> None:
    """The parameters that nobody gave too, on each trial; differences to the baseline; a line of description."""
    tracker = Tracker(mlruns, "s")
    facts = {"model": "sdxl", "steps": "30", "dtype": "float16"}
    tags = {"mlflow.user": "me", "mlflow.source.name": "search.run", "version.torch": "2"}
    tracker.start({**CONFIG, "steps": None}, "fingerprint", tags, resolved=facts, directions=DIRECTIONS)
    records = [replace(record(0), factors=IDENTITY), record(1), record(2)]
    for one in records:
        tracker.trial(one, None, None, base=records[0])
    found = result()
    found["picks"][0]["scores"]["clip"] |= {"p_holm": 0.04}
    found["picks"][0]["judges"] = {"kid": {"value": 0.2, "difference": -0.1}}
    tracker.finish(found | {"take_away": "knee", "judges": {"kid": "down"}}, records)
    parent, children = runs(mlruns)
    for run in (parent, *children):
        assert {key: run.data.params[key] for key in facts} == facts
        assert run.data.tags["study"] == "s"
        assert (run.data.tags["mlflow.user"], run.data.tags["mlflow.source.name"]) == ("me", "search.run")
    assert "version.torch" not in children[0].data.tags
    assert "clip.difference" not in children[0].data.metrics  # the baseline's own
    assert children[1].data.metrics["clip.difference"] == 1.0
    assert children[1].data.metrics["fid.difference"] == 1.0
    assert children[2].data.metrics["held_out/clip.p_holm"] == 0.04
    assert "Minus the baseline: clip +1 ± 0.01" in children[1].data.tags["mlflow.note.content"]
    assert "Picked as knee. On held-out prompts" in children[2].data.tags["mlflow.note.content"]
    assert children[0].data.tags["mlflow.note.content"].startswith("The baseline (FreeU off)")
    metrics = parent.data.metrics
    assert (metrics["clip"], metrics["clip.baseline"], metrics["clip.difference"]) == (2.5, 0.5, 0.01)
    assert metrics["clip.p_holm"] == 0.04
    assert metrics["kid.difference"] == children[2].data.metrics["judges/kid.difference"] == -0.1
    assert {name.partition("/")[0] for name in metrics if "/" in name} == {"trial"}  # MLflow's charts begin with it
    assert (metrics["trial/clip"], metrics["trial/fid"]) == (2.5, 2.5)
    experiment = tracker._runs.client.get_experiment(tracker._runs.experiment)
    assert "`clip.difference`" in experiment.tags["mlflow.note.content"]


def test_ranks_peel_front_after_front() -> None:
    def scored(number: int, clip: float, fid: float, **more: Any) -> TrialRecord:
        values = {"clip": Value(clip, 1.0, 48, "up", 0.1), "fid": Value(fid, 1.0, 48, "down", 0.1)}
        return replace(record(number), values=values, **more)

    records = [scored(0, 1.0, 9.0), scored(1, 2.0, 9.0), scored(2, 0.5, 5.0), scored(3, 0.5, 9.5), scored(4, 9.0, 1.0)]
    records += [scored(5, 1.5, 9.0, guardrails={"contrast": 1.5}), record(6, "FAIL", "CUDA out of memory")]
    found = {"objectives": {"clip": "up", "fid": "down"}, "front": [{"number": 0}]}  # as a model expects it
    assert ranks(records, found) == {0: 1, 4: 2, 1: 3, 2: 3, 3: 4}
    alone = {"objectives": {"clip": "up"}, "front": [{"number": 4}]}
    assert ranks(records, alone) == {4: 1, 1: 2, 0: 3, 2: 4, 3: 4}  # equal ones are of one rank


def test_ranks_follow_the_front_and_are_written_where_they_change(mlruns: Path, monkeypatch: Any) -> None:
    tracker = started(mlruns)
    records = [record(0), record(1), record(2)]
    for one in records:
        tracker.trial(one, None, None)
    tracker.front(result((0, 1)), records)
    before = [run.data.metrics["rank"] for run in runs(mlruns)[1]]
    again = started(mlruns)
    written: list[str] = []
    write = again._runs.write
    monkeypatch.setattr(again._runs, "write", lambda run, **given: (written.append(run), write(run, **given)))
    again.front(result((1, 2)), records)
    children = runs(mlruns)[1]
    assert (before, [run.data.metrics["rank"] for run in children]) == ([1, 1, 2], [2, 1, 1])
    assert sorted(written) == sorted(children[number].info.run_id for number in (0, 2))


def test_a_name_that_a_person_gave_stays(mlruns: Path) -> None:
    tracker = started(mlruns)
    records = [record(0), record(1), record(2)]
    for one in records:
        tracker.trial(one, None, None)
    tracker._runs.client.update_run(runs(mlruns)[1][2].info.run_id, name="mine")
    again = started(mlruns)
    again.finish(result(), records)
    assert [run.info.run_name for run in runs(mlruns)[1]][1:] == ["#01 published", "mine"]
    again.finish(result((0, 1)), records)  # another pick: the first one loses its name
    assert [run.info.run_name for run in runs(mlruns)[1]] == ["#00 1.00 1.20 0.90 0.20", "#01 published, knee", "mine"]


def test_the_front_table_has_plain_columns() -> None:
    """MLflow's page takes a dot in a column's name for a path into the cell, and shows nothing."""
    controls = {"start": 0.1, "width": (0.5, 0.4, 0.3)}
    row = {"number": 7, "origin": "gp", "factors": {"b1": 1.2, "controls": controls}, "clip": 3.0}
    row |= {"expected": {"clip": 2.9}, "errors": {"clip": 0.1}}
    score = {"value": 3, "difference": 0.5, "low": 0.1, "high": 0.9, "p_holm": 0.03}
    pick = {"pick": "knee", "number": 7, "scores": {"clip": score}}
    table = front_table({"objectives": {"clip": "up"}, "front": [row], "picks": [pick]}, record(0))
    assert not [name for name in table.columns if "." in name]
    found = table.iloc[0].to_dict()
    assert found == {
        "trial": 7,
        "picks": "knee",
        "origin": "gp",
        "b1": 1.2,
        "controls_start": 0.1,
        "controls_width": "(0.5, 0.4, 0.3)",
        "clip": 3.0,
        "expected_clip": 2.9,
        "difference_clip": 2.5,
        "error_clip": 0.1,
        "held_out_difference_clip": 0.5,
        "held_out_low_clip": 0.1,
        "held_out_high_clip": 0.9,
        "held_out_p_holm_clip": 0.03,
    }


def test_the_page_s_front_table_is_readable() -> None:
    rows = [{"number": number, "origin": "gp", "factors": {"b1": 1.23456}, "clip": 92.34567} for number in range(3)]
    pick = {"pick": "knee", "number": 1, "scores": {"clip": {"difference": 0.0123456}}}
    table = shown(front_table({"objectives": {"clip": "up"}, "front": rows, "picks": [pick]}))
    assert list(table["trial"]) == [1, 0, 2]  # the picks first
    assert list(table["clip"]) == [92.35] * 3 and list(table["b1"]) == [1.235] * 3
    assert list(table["held_out_difference_clip"]) == [0.01235, "", ""]  # and no "null"


@pytest.mark.parametrize("objectives", [("clip",), ("clip", "fid"), ("clip", "aesthetic", "fid")])
def test_the_front_page_is_whole_and_escaped(objectives: tuple[str, ...]) -> None:
    told = result() | {"objectives": {name: DIRECTIONS[name] for name in objectives}}
    page = study_page("<script>alert(1)</script>", [record(n) for n in range(3)] + [record(3, "FAIL", "x")], told)
    assert "<script>alert(1)" not in page
    assert "FreeU &lt;b&gt;may&lt;/b&gt; help" in page
    assert 'src="http' not in page  # nothing is fetched
    plots = {1: 1, 2: 1, 3: 4}[len(objectives)]
    assert f'id="front-{plots - 1}"' in page
    assert f'id="front-{plots}"' not in page


def test_image_grid() -> None:
    images = torch.zeros(5, 3, 8, 10, dtype=torch.uint8)
    images[3] = 200
    grid = image_grid(images, columns=3)
    assert grid.size == (3 * 10 + 2 * 2, 2 * 8 + 2)
    assert grid.getpixel((4, 14)) == (200, 200, 200)  # the fourth image: second row, first column
    assert grid.getpixel((30, 14)) == (255, 255, 255)  # no sixth image: paper
    assert image_grid(torch.zeros(1, 3, 400, 200, dtype=torch.uint8), side=100).size == (50, 100)
    for wrong in (images.float(), images[:0], images[:, :1], images[0]):
        with pytest.raises(ValueError, match="image_grid takes"):
            image_grid(wrong)


def test_a_moved_folder_keeps_its_images(mlruns: Path, grid: Path) -> None:
    """Also where the old place holds letters that are patterns elsewhere."""
    from mlflow import MlflowClient

    here = mlruns.rename(mlruns.with_name("a [b] c%d"))
    with sqlite3.connect(here / "mlflow.db") as connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", ((here / "artifacts").as_uri(),))
    tracker = started(here)
    tracker.trial(record(0), grid, None)
    moved = here.rename(here.with_name("moved"))
    settle(mlflow_settings(moved))
    parent, children = runs(moved)
    assert artifacts(children[0]) == {"0000.png"}
    client = MlflowClient(tracking_uri=mlflow_settings(moved).uri)
    assert Path(client.download_artifacts(children[0].info.run_id, "0000.png")).read_bytes() == grid.read_bytes()
    settle(mlflow_settings(moved))  # again changes nothing
    assert runs(moved)[0].info.artifact_uri == parent.info.artifact_uri
    started(moved).trial(record(1), grid, None)
    assert artifacts(runs(moved)[1][1]) == {"0000.png"}


def test_the_difference_of_two_grids(tmp_path: Path) -> None:
    images = torch.randint(0, 200, (12, 3, 8, 8), dtype=torch.uint8)
    save_grid(images, tmp_path / "base.png")
    other = images[:5].clone()
    other[3] += 7
    save_grid(other, tmp_path / "other.png")
    found = difference(tmp_path / "other.png", 5, tmp_path / "base.png", 12)
    assert found is not None
    assert found.size == (3 * 8 + 2 * 2, 2 * 8 + 2)
    assert [found.getpixel(place) for place in ((4, 4), (4, 14), (14, 14))] == [(0,) * 3, (7,) * 3, (0,) * 3]
    # A grid that lacks an image, whose places say nothing any more.
    assert difference(tmp_path / "other.png", 6, tmp_path / "base.png", 12) is None
    assert difference(tmp_path / "none.png", 5, tmp_path / "base.png", 12) is None


def test_the_history_of_the_hypervolume_is_never_rewritten() -> None:
    """Told trial by trial or all at once; the box is that of the first ten."""
    chance = np.random.default_rng(0)
    records = []
    for number in range(14):
        values = {name: Value(float(x), 0.1, 4, "up") for name, x in zip(("a", "b"), chance.random(2), strict=True)}
        rails = {"luma": 2.0 if number == 4 else 0.0}
        records.append(TrialRecord(number, Factors(1, 1, 1, 1), "sobol", "COMPLETE", values, guardrails=rails))
    directions = {"a": "up", "b": "up"}
    told = [histories(records[: number + 1], directions).get(number, {}) for number in range(14)]
    assert [sorted(each) for each in told[8:12]] == [[], list(range(10)), [10], [11]]
    history = {step: value for each in told for step, value in each.items()}
    assert history == {s: v for n in range(14) for s, v in histories(records, directions).get(n, {}).items()}
    values = [history[step] for step in range(14)]
    assert values == sorted(values)
    assert values[4] == values[3]  # out of bounds: it adds nothing
    assert 0 < values[-1] < 1.5
