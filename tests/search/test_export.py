"""`python -m search.export`: which factors and scores leave a study, in which format, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from configs import UserError
from configs.whole_files import replacing
from freeu import Factors, Sampling, presets
from freeu.presets import embedded
from search.export import app, preset_of
from search.reporting import preset_folder
from search.storage import StudyFolder, TrialRecord, Value
from search.storage.files import write_json
from search.study.held_out import BASE
from search.terminal import find_study
from tests.search import made

ROOT = Path(__file__).parents[2]
KNEE, BLOCK = Factors(1.31, 1.44, 0.9, 0.0), Factors(1.2, 1.4, 0.9, 0.2, version="v1", stages="block")
SCORE = {"value": 0.31, "base": 0.3, "difference": 0.01, "low": -0.01, "high": 0.03, "p": 0.4, "p_holm": 0.8, "n": 8}
RESULT: dict[str, Any] = {
    "study": "sunday",
    "model": "shapes",
    "model_identity": "ab" * 32,
    "trials": 2,
    "objectives": {"clip": "up"},
    "front": [
        {"number": 3, "origin": "gp", "factors": KNEE.as_dict(), "clip": 0.31, "expected": {"clip": 0.31}},
    ],
    "picks": [
        {
            "pick": "knee",
            "number": 3,
            "factors": KNEE.as_dict(),
            "scores": {"clip": SCORE | {"direction": "up"}},
        },
        {
            "pick": "best-clip",
            "number": 3,
            "factors": KNEE.as_dict(),
            "scores": {"clip": SCORE | {"p": None}},
        },
    ],
    "verdict": "FreeU does not help here.",
}


@pytest.fixture
def mlruns(tmp_path: Path) -> Path:
    folder = StudyFolder(tmp_path / "mlruns", "sunday")
    value = {"clip": Value(0.4, 0.01, 48, "up")}
    folder.write_trial(TrialRecord(2, BLOCK, "sobol", "COMPLETE", value))
    folder.write_trial(TrialRecord(3, KNEE, "gp", "COMPLETE", value))
    folder.write_trial(TrialRecord(4, KNEE, "gp", "FAIL", reason="out of memory"))
    folder.config.write_text("model: shapes\n")
    write_json(folder.result, RESULT)
    return tmp_path / "mlruns"


def test_yaml_goes_round(mlruns: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "knee.yaml"
    done = CliRunner().invoke(app, ["--study", "sunday", "--mlruns", str(mlruns), "--out", str(out)])
    assert done.exit_code == 0, done.output
    preset = presets.read(out)
    assert preset.factors == KNEE  # 0.0 too
    assert (preset.study, preset.pick, preset.model, preset.model_identity) == (
        "sunday",
        "knee",
        "shapes",
        "ab" * 32,
    )
    assert dict(preset.scores["clip"]) == SCORE
    assert [file.name for file in out.parent.iterdir()] == ["knee.yaml"]  # nothing temporary stays


def test_without_out_it_is_printed(mlruns: Path) -> None:
    done = CliRunner().invoke(app, ["--study", "sunday", "--mlruns", str(mlruns)])
    assert yaml.safe_load(done.stdout)["factors"]["b1"] == 1.31
    done = CliRunner().invoke(app, ["--study", "sunday", "--mlruns", str(mlruns), "--format", "comfyui"])
    node = next(iter(json.loads(done.stdout).values()))
    assert node["class_type"] == "FreeU_V2"
    assert (node["inputs"]["b1"], node["inputs"]["s2"]) == (1.31, 0.0)


def test_a_trial_by_number_has_held_out_scores_only_where_it_is_a_pick(mlruns: Path) -> None:
    folder = find_study(mlruns, "sunday")
    assert dict(preset_of(folder, "3").scores["clip"]) == SCORE
    preset = preset_of(folder, "2")
    assert preset.factors == BLOCK
    assert preset.scores == {}  # the search's own 0.4 flatters it


def test_each_preset_tells_the_verdict_and_whose_it_is(mlruns: Path, tmp_path: Path) -> None:
    folder = StudyFolder(mlruns, "sunday")
    write_json(folder.result, RESULT | {"take_away": "best-clip"})
    other = "FreeU does not help here. These factors are of trial 2, which is another one."
    for pick, told in (("best-clip", RESULT["verdict"]), ("3", RESULT["verdict"]), ("2", other)):
        preset = preset_of(folder, pick)
        assert preset.verdict == told
        assert yaml.safe_load(presets.render(preset, "yaml"))["verdict"] == told
    v1 = replace(preset, factors=replace(BLOCK, version="v1"), verdict='a "b"\nimport os\u2028')
    for name in ("diffusers", "refiners"):
        code = presets.render(v1, name)
        assert '\n# a "b"\\nimport os\\u2028\n' in code
        compile(code, name, "exec")
    exported(mlruns, "--study", "sunday", "--pick", "2", "--all", "--out", tmp_path / "out")
    assert other in (tmp_path / "out" / "README.md").read_text()


def test_an_unfinished_study_gives_trials_but_no_picks(mlruns: Path) -> None:
    folder = find_study(mlruns, "sunday")
    folder.result.unlink()
    assert preset_of(folder, "2").model == "shapes"
    with pytest.raises(UserError, match="no picks yet"):
        preset_of(folder, "knee")


@pytest.mark.parametrize(
    ("pick", "said"),
    [
        ("best-clipp", "unknown pick 'best-clipp': did you mean 'best-clip'"),
        ("7", "there is no trial 7 in study 'sunday', whose last is 4"),
        ("4", "trial 4 failed .out of memory."),
        ("-1", "unknown pick '-1'"),
        ("", "unknown pick ''"),
    ],
)
def test_what_is_not_there(mlruns: Path, pick: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        preset_of(find_study(mlruns, "sunday"), pick)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--study", "sundy"], "did you mean 'sunday'"),
        (["--study", "../sunday"], "unknown study '../sunday'"),
        (["--study", "sunday", "--format", "comfy"], "did you mean 'comfyui'"),
        (["--study", "sunday", "--pick", "knee", "--format", "diffusers", "--out", "no.py"], "version 1|v1"),
        (["--study", "sunday", "--out", "."], "it is a folder; name a file in it"),
        (["--study", "sunday", "--pick", "9" * 300], "unknown pick"),
        (["sunday", "--from-file", "x.yaml"], "--study NAME or --from-file"),
        (["--study", "sunday", "--from-file", "x"], "--study NAME or --from-file"),
        (["--from-file", "none.json"], "can't read none.json"),
        (["--study", "sunday", "--all"], "--all needs --out"),
        (["--study", "sunday", "--all", "--card", "--out", "x"], "give one"),
        (["--study", "sunday", "--workflow", "w.json", "--format", "yaml"], "give one"),
        (["--study", "sunday", "--workflow", "w.json", "--out", "a.png"], "a workflow is JSON: name a .json file"),
        (["--study", "sunday", "--node", "4"], "--node 4 needs --workflow"),
        (["--study", "sunday", "--workflow", "none.json"], "can't read none.json: No such file"),
        (["--study", "sunday", "--card", "--out", "a.png"], "name a .md file"),
        (["--study", "sunday", "--card", "--out", "."], "--out . is a folder: name a .md file in it, as CARD.md"),
        (["--study", "sunday", "--card", "--out", "/"], "--out / is a folder: name a .md file in it, as /CARD.md"),
    ],
)
def test_refusals_end_with_exit_code_2_and_leave_no_file(
    mlruns: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "search.export", "--mlruns", str(mlruns), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert any(one in done.stderr for one in said.split("|")), done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_where_the_advice_is_to_keep_freeu_off_it_says_so(mlruns: Path) -> None:
    said = "the verdict's advice is to keep FreeU off; this is the knee"
    assert said not in exported(mlruns, "--study", "sunday")  # a result from before there was advice
    write_json(StudyFolder(mlruns, "sunday").result, RESULT | {"take_away": None})
    assert said in " ".join(exported(mlruns, "--study", "sunday").split())
    assert said not in exported(mlruns, "--study", "sunday", "--pick", "knee")


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="it is no plain file; name another"):
        presets.save(pipe, b"b1: 1.2")
    with pytest.raises(OSError, match="it is no plain file"), replacing(pipe):
        pass
    assert pipe.is_fifo() and [*tmp_path.iterdir()] == [pipe]


def test_no_study_yet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no study"):
        find_study(tmp_path, "sunday")


def exported(mlruns: Path, *arguments: object) -> str:
    done = CliRunner().invoke(app, ["--mlruns", str(mlruns), *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_all_writes_what_fits_and_says_what_does_not(mlruns: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported(mlruns, "--study", "sunday", "--all", "--out", out)
    readme = (out / "README.md").read_text()
    written = {file.name for file in out.iterdir()} - {"README.md"}
    assert {"freeu.yaml", "comfyui.json", "presets.json", "freeu_presets.py", "fooocus.json"} <= written
    assert all(f"| `{name}` |" in readme for name in written)
    assert all(f"- {name}: " in readme for name in ("diffusers", "invokeai", "sdnext", "refiners"))
    assert all(presets.read(out / name).factors == KNEE for name in written)
    with pytest.raises(UserError, match="is a file, and --all writes a folder"):
        CliRunner().invoke(
            app,
            ["--mlruns", str(mlruns), "sunday", "--all", "--out", str(out / "fooocus.json")],
            catch_exceptions=False,
            standalone_mode=False,
        )
    (out / "fooocus.json").write_text("mine")
    assert "fooocus.json.bak" in exported(mlruns, "--study", "sunday", "--all", "--out", out)
    assert (out / "fooocus.json.bak").read_text() == "mine"


@pytest.mark.parametrize("name", ["../../out", "/etc/x", "</script>\u202e`|", "a\nb\x00", "x" * 10_000])
def test_no_name_leads_out_of_the_folder(mlruns: Path, tmp_path: Path, name: str) -> None:
    hostile = presets.Preset(KNEE, model=name, study=name, pick=name)
    presets.write(hostile, tmp_path / "in.yaml", "yaml")
    before = set(tmp_path.rglob("*"))
    exported(mlruns, "--from-file", tmp_path / "in.yaml", "--all", "--out", tmp_path / "out")
    new = set(tmp_path.rglob("*")) - before - {tmp_path / "out"}
    assert new and {file.parent for file in new} == {tmp_path / "out"}
    assert len((tmp_path / "out" / "README.md").read_text().splitlines()[0]) < 20


def test_a_workflow_gets_freeu_and_stays(mlruns: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "w.json", tmp_path / "new.json"
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {}}
    file.write_text(json.dumps({"4": loader, "5": {"class_type": "KSampler", "inputs": {"model": ["4", 0]}}}))
    before = file.read_text()
    said = exported(mlruns, "--study", "sunday", "--workflow", file, "--out", out)
    assert "put FreeU_V2, node 6, behind CheckpointLoaderSimple (node 4); 1 input rewired" in said
    assert json.loads(out.read_text())["5"]["inputs"]["model"] == ["6", 0]
    assert file.read_text() == before and presets.read(out).factors == KNEE


def test_an_image_of_comfyui_is_a_workflow(mlruns: Path, tmp_path: Path) -> None:
    """As ComfyUI keeps it: what the editor saves, beside what ran."""
    loader = {"class_type": "CheckpointLoaderSimple", "inputs": {}}
    ran = {"4": loader, "5": {"class_type": "KSampler", "inputs": {"model": ["4", 0]}}}
    saved = {
        "nodes": [
            {"id": 4, "type": "CheckpointLoaderSimple", "outputs": [{"name": "MODEL", "type": "MODEL", "links": [1]}]},
            {"id": 5, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 1}]},
        ],
        "links": [[1, 4, 0, 5, 0, "MODEL"]],
        "last_node_id": 5,
        "last_link_id": 1,
    }
    for kept in ({"prompt": ran, "workflow": saved}, {"prompt": ran}):
        file, out = tmp_path / "image.png", tmp_path / "new.json"
        info = PngInfo()
        for key, value in kept.items():
            info.add_text(key, json.dumps(value))
        Image.new("RGB", (8, 8)).save(file, pnginfo=info)
        before = file.read_bytes()
        said = exported(mlruns, "--study", "sunday", "--workflow", file, "--out", out)
        assert "put FreeU_V2, node 6, behind CheckpointLoaderSimple (node 4)" in " ".join(said.split())
        assert ("nodes" in json.loads(out.read_text())) == ("workflow" in kept)
        assert file.read_bytes() == before and presets.read(out).factors == KNEE
    info = PngInfo()  # as it keeps them in animated ones
    info.add(b"comf", b"workflow\0" + json.dumps(saved).encode(), after_idat=True)
    Image.new("RGB", (8, 8)).save(file, pnginfo=info)
    assert json.loads(embedded.workflow(file, "workflow", "prompt")) == saved
    Image.new("RGB", (8, 8)).save(file)
    with pytest.raises(UserError, match=r"image\.png is an image that holds no workflow of ComfyUI"):
        embedded.workflow(file, "workflow", "prompt")


def test_what_is_wrong_with_a_workflow_names_its_file(mlruns: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    file.write_text("{}")
    done = CliRunner().invoke(app, ["--mlruns", str(mlruns), "sunday", "--workflow", str(file)])
    assert str(done.exception).startswith(f"{file}: this is no ComfyUI workflow")


def test_it_says_where_a_preset_goes(mlruns: Path, tmp_path: Path) -> None:
    said = exported(mlruns, "sunday", "--format", "comfyui", "--out", tmp_path / "a.json")
    assert "where it goes: one node for a workflow in API format" in " ".join(said.split())


SAMPLING = {"guidance": 6.5, "guidance_rescale": 0.0, "steps": 28, "scheduler": "Euler a", "negative_prompt": "blurry",
            "size": [512, 768]}  # fmt: skip


@pytest.fixture
def sampled(mlruns: Path) -> Path:
    """The study's picks have sampling settings."""
    picks = [pick | {"sampling": SAMPLING} for pick in RESULT["picks"]]
    write_json(StudyFolder(mlruns, "sunday").result, RESULT | {"picks": picks})
    return mlruns


def test_a_pick_brings_its_sampling_settings(sampled: Path, tmp_path: Path) -> None:
    for pick in ("knee", "3"):
        preset = preset_of(StudyFolder(sampled, "sunday"), pick)
        assert preset.sampling == Sampling.from_dict(SAMPLING)
    folder = StudyFolder(sampled, "sunday")
    assert preset_of(folder, "2").sampling == Sampling()  # no pick, and an older study's
    write_json(folder.result, RESULT | {"sampling": SAMPLING})
    record = folder.read_trial(2)
    assert record is not None
    folder.write_trial(replace(record, sampling=Sampling(guidance=4.0)))
    assert preset_of(folder, "2").sampling == Sampling.from_dict(SAMPLING | {"guidance": 4.0})
    write_json(folder.result, RESULT | {"picks": [pick | {"sampling": SAMPLING} for pick in RESULT["picks"]]})
    exported(sampled, "--study", "sunday", "--all", "--out", tmp_path / "out")
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "Found at guidance 6.5, 28 steps, Euler a, 512x768, negative prompt 'blurry'." in readme
    by_hand = readme.partition("Settings to make by hand:")[2]
    assert "- `presets.json`: found at guidance 6.5, 28 steps, Euler a, 512x768" in by_hand
    assert "fooocus.json" not in by_hand and "freeu.yaml" not in by_hand  # which hold all of them
    assert presets.read(tmp_path / "out" / "fooocus.json").sampling.steps == 28
    said = exported(sampled, "--study", "sunday", "--format", "forge", "--out", tmp_path / "f.py")
    assert "note: found at guidance 6.5, 28 steps, Euler a" in said


def test_a_scheduler_that_a_tool_lacks_is_to_be_set_by_hand(sampled: Path, tmp_path: Path) -> None:
    preset = presets.Preset(KNEE, "m", sampling=Sampling(6.5, scheduler="TCD"))
    assert "found at TCD, which the format infotext" in preset_folder.by_hand(preset, "infotext")
    assert "found at TCD" in preset_folder.by_hand(preset, "fooocus")
    assert preset_folder.by_hand(preset, "invokeai") == preset_folder.by_hand(preset, "diffusers") == ""


def test_factors_only_leaves_the_settings_out(sampled: Path, tmp_path: Path) -> None:
    text = exported(sampled, "--study", "sunday", "--factors-only")
    assert "sampling" not in text
    node = {"class_type": "KSampler", "inputs": {"model": ["4", 0], "cfg": 8, "steps": 20}}
    (tmp_path / "w.json").write_text(json.dumps({"4": {"class_type": "UNETLoader", "inputs": {}}, "5": node}))
    for flags, cfg in (((), 6.5), (("--factors-only",), 8)):
        exported(sampled, "--study", "sunday", "--workflow", tmp_path / "w.json", "--out", tmp_path / "n.json", *flags)
        assert json.loads((tmp_path / "n.json").read_text())["5"]["inputs"]["cfg"] == cfg


def test_a_card_has_a_table_of_the_settings(sampled: Path, tmp_path: Path) -> None:
    exported(sampled, "--study", "sunday", "--card", "--out", tmp_path / "CARD.md")
    text = (tmp_path / "CARD.md").read_text()
    assert "| found at | |\n|---|---|\n| guidance | 6.5 |\n" in text and "| scheduler | Euler a |" in text
    assert "| size | 512x768 |" in text


def test_a_card_has_the_scores_the_images_and_the_command(mlruns: Path, tmp_path: Path) -> None:
    folder = StudyFolder(mlruns, "sunday")
    evil = "a <b>|`x`\n# cat"
    table = pd.DataFrame({"prompt": [evil, "dog"], "category": ["", ""], "seed": [0, 1], "clip": [0.3, 0.31]})
    for name, light in ((BASE, 0), ("0003", 200)):
        folder.write_held_out_images(name, 0, 2, torch.full((2, 3, 64, 64), light, dtype=torch.uint8))
        folder.learn_held_out(name, table)
    write_json(folder.result, RESULT | {"trials": 2})
    folder.config.write_text("model: sdxl\nfingerprint: {source: a/b@1, weights: abc}\n")
    exported(mlruns, "--study", "sunday", "--card", "--out", tmp_path / "c" / "CARD.md")
    text = (tmp_path / "c" / "CARD.md").read_text()
    head, body = text.split("---\n")[1], text.split("---\n", 2)[2]
    assert yaml.safe_load(head) == {"base_model": "a/b", "tags": ["freeu", "diffusers"]}
    assert "| clip | up | 0.3 | 0.31 | +0.01 | -0.01 to +0.03 | 0.8 |  | 8 |" in body
    assert "python -m search.run --study sunday-again --trials 2 --model sdxl" in body
    assert "<b>" not in body.replace("\\<b\\>", "") and "\n# cat" not in body
    with Image.open(tmp_path / "c" / "CARD.png") as picture:
        assert picture.convert("L").getpixel((10, 10)) == 0  # the baseline above
        assert picture.convert("L").getpixel((10, 10 + 64 + 4)) == 200


def test_a_card_sets_a_pick_beside_its_rival(tmp_path: Path) -> None:
    made.with_rival(made.study(tmp_path, "sunday", side=8))
    exported(tmp_path, "--study", "sunday", "--pick", "knee", "--card", "--out", tmp_path / "c" / "CARD.md")
    said = (tmp_path / "c" / "CARD.md").read_text()
    assert "## Beside FreeU off at guidance 4 (trial 5)" in said
    assert "| clip | up | 29.9 | 30 | +0.1\\* | +0.05 to +0.15 | 0.002 | 90% | 8 |" in said


@pytest.mark.parametrize(("name", "said"), [("cards", "cards is a folder"), ("n" * 300, "File name too long")])
def test_a_card_that_cannot_be_written_leaves_no_picture(tmp_path: Path, name: str, said: str) -> None:
    made.study(tmp_path / "mlruns", side=8)
    (tmp_path / "cards").mkdir()
    before = sorted(tmp_path.rglob("*"))
    arguments = ["--mlruns", str(tmp_path / "mlruns"), "--study", "sunday", "--card", "--out", str(tmp_path / name)]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError) and said in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_card_of_an_unfinished_study_is_refused(mlruns: Path, tmp_path: Path) -> None:
    StudyFolder(mlruns, "sunday").result.unlink()
    arguments = ["--mlruns", str(mlruns), "--study", "sunday", "--pick", "2", "--card", "--out", str(tmp_path / "c.md")]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UserError) and not (tmp_path / "c.md").exists()
