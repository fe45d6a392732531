"""A study's own config.yaml begins and resumes the same study, without the password that it doesn't keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import UserError, path
from search.settings.config import FIELDS, StudyConfig
from search.settings.job import prepare
from search.settings.kept import check_resumable, kept_settings, seal
from search.settings.reading import load
from tests.search.fakes import settings

STORAGE = "postgresql://me:secret@host/db"


def kept(config: StudyConfig) -> Path:
    """The config.yaml of a study that begins."""
    job = prepare(config)
    seal(job, {**job.fingerprint, "weights": "ab" * 32, "scorer_weights": {}})
    return job.folder.config


def same(again: StudyConfig, config: StudyConfig, **but: Any) -> None:
    """The two are one study's, and differ in nothing but this and what the model or the machine resolves."""
    expected = config.model_dump() | {"device": again.device, "objectives": again.objectives}
    expected |= {"judges": again.judges} | but
    assert again.model_dump() == expected
    before, after = prepare(config), prepare(again)
    assert (after.fingerprint, after.folder.root) == (before.fingerprint, before.folder.root)
    assert (after.prompts, after.held_out, after.fixed) == (before.prompts, before.held_out, before.fixed)
    check_resumable(after)


def test_every_setting_comes_back(tmp_path: Path) -> None:
    given = {"version": "v1", "stages": "block", "steps": 7, "guidance": 0.0, "guardrails": False, "racing": False}
    given |= {"minutes": 2.5, "patience": 4, "batch_size": 3, "cache": False, "seed": 2**63 - 1, "objectives": "clip"}
    given |= {"dtype": "float32", "tracking_uri": f"sqlite:///{tmp_path}/team.db", "images": 10**6, "workers": 2}
    config = settings(tmp_path, **given)
    same(load(kept(config), {}), config)
    assert load(kept(config), {"trials": 99}).trials == 99
    assert load(str(kept(config)), {"steps": 8}).steps == 8


def test_a_model_of_ones_own_comes_back_as_it_was_named(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    found = yaml.safe_load(path("models", "shapes.yaml").read_text("utf-8"))
    own.write_text(yaml.safe_dump(found | {"source": str(path("models", "shapes"))}))
    config = settings(tmp_path, model=str(own), study=None)
    file = kept(config)
    assert yaml.safe_load(file.read_text("utf-8"))["model_given"] == str(own)
    again = load(file, {})
    assert again.model == str(own) and again.name == "own"
    same(again, config)


def test_a_hidden_password_is_asked_of_the_flag_or_the_environment(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    config = settings(tmp_path, storage=STORAGE, tracking_uri="http://me:secret@host:5000")
    file = kept(config)
    assert "secret" not in file.read_text("utf-8")
    same(load(file, {}), config, storage="postgresql://me@host/db", tracking_uri="http://me@host:5000")
    same(load(file, {"storage": STORAGE}), config, tracking_uri="http://me@host:5000")


def test_a_key_that_no_study_has_is_refused(tmp_path: Path) -> None:
    file = kept(settings(tmp_path))
    file.write_text(file.read_text("utf-8") + "trails: 3\n", "utf-8")
    with pytest.raises(UserError, match="unknown key 'trails'"):
        load(file, {})
    file.write_text("model_given: x\n", "utf-8")  # without a fingerprint it is no study's
    with pytest.raises(UserError, match="unknown key 'model_given'"):
        load(file, {})


def test_every_field_is_kept(tmp_path: Path) -> None:
    assert set(FIELDS) <= set(kept_settings(prepare(settings(tmp_path))))
