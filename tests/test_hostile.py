"""Hostile files at every flag that takes one: a `UserError` of one short line. benchmarks/hostile.py has more."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from configs import UserError
from search import export, report, run, show
from tests.search import made

DEEP = "[" * 200_000
YAML = {
    "big": "trials: " + "9" * 5000, "date": "trials: 2001-99-99", "deep": "a: " + "[" * 10_000,
    "laugh": "freeu_preset: 1\nmodel: x\nfactors: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in pairwise("abcdefghi")
    ),
}  # fmt: skip
PRESET = "freeu_preset: 1\nmodel: m\nfactors: {b1: 1, b2: 1, s1: 1, s2: 0.5, version: v2, stages: width}\n"


def refused(app: Any, *arguments: str | Path) -> str:
    """What a command says as it refuses."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, UserError), done.exception
    said = str(done.exception)
    assert len(said) < 700 and "\n" not in said
    return said


@pytest.mark.parametrize("name", list(YAML))
@pytest.mark.parametrize("flag", ["--config", "--space", "--model", "--from-file"])
def test_settings(tmp_path: Path, flag: str, name: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(YAML[name])
    command = [export.app] if flag == "--from-file" else [run.app, "--dry-run", "--mlruns", tmp_path]
    assert "a.yaml" in refused(*command, flag, file)


@pytest.mark.parametrize("text, said", [(DEEP, "64 deep"), ('["a\\ud800 0"]', "half of a surrogate")])
def test_prompts(tmp_path: Path, text: str, said: str) -> None:
    for name, content in (("p.json", text), ("p.jsonl", text)):
        (tmp_path / name).write_text(content)
        assert said in refused(run.app, "--dry-run", "--model", "shapes", "--prompts", tmp_path / name)


def test_models(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(DEEP)
    assert "64 deep" in refused(run.app, "--dry-run", "--model", tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": ["StableDiffusionPipeline"]}')
    assert "holds a ['StableDiffusionPipeline']" in refused(run.app, "--dry-run", "--model", tmp_path)
    file = tmp_path / "a.safetensors"
    file.write_bytes(struct.pack("<Q", len(DEEP)) + DEEP.encode())
    assert "64 deep" in refused(run.app, "--dry-run", "--model", file)


def test_workflows_and_studies(tmp_path: Path) -> None:
    (tmp_path / "preset.yaml").write_text(PRESET)
    (tmp_path / "w.json").write_text(DEEP)
    assert "64 deep" in refused(export.app, "--from-file", tmp_path / "preset.yaml", "--workflow", tmp_path / "w.json")
    folder = tmp_path / "studies" / "s"
    (folder / "trials").mkdir(parents=True)
    (folder / "config.yaml").write_text("model: shapes")
    for file in (folder / "result.json", folder / "trials" / "0000.json"):
        file.write_text(DEEP)
    for app, *arguments in ((show.app, "s"), (export.app, "--study", "s"), (report.app, "--study", "s")):
        assert "64 deep" in refused(app, *arguments, "--mlruns", tmp_path)


def test_a_damaged_study_s_settings_and_records(tmp_path: Path) -> None:
    """Of a study without a result, whose page is made of its records and its fingerprint."""
    folder = made.study(tmp_path, trials=4)
    folder.result.unlink()
    whole = folder.config.read_text()
    for content, said in (
        ("model: shapes\nfingerprint: x", "its fingerprint is 'x'"),
        ("model: shapes\nfingerprint: {space: [1]}", "its space is [1]"),
        ("", "names no model"),
        ("model: shapes\ntrials: many", "no number of trials"),
    ):
        folder.config.write_text(content)
        for app in (report.app, show.app):
            told = refused(app, folder.name, "--mlruns", tmp_path)
            assert "config.yaml is damaged: " in told and said in told
    folder.config.unlink()
    assert "has trials and no config.yaml" in refused(
        run.app, "--dry-run", "--study", folder.name, "--mlruns", tmp_path
    )
    folder.config.write_text(whole)
    record = folder.record_file(2)
    for damage, said in (({"state": "FAIL", "reason": None}, "no reason"), ({"state": "DONE"}, "its state is 'DONE'")):
        record.write_text(json.dumps(json.loads(record.read_text()) | damage))
        told = refused(report.app, folder.name, "--mlruns", tmp_path)
        assert "0002.json is not a trial's record" in told and said in told
