"""How long a study takes, from what others took: a damaged one beside it changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import UserError
from search.storage import StudyFolder, studies
from search.study.estimate import measured
from search.terminal.study_status import standing
from tests.search import made


def record_as_folder(folder: StudyFolder) -> None:
    folder.record_file(2).unlink()
    folder.record_file(2).mkdir()


def config_as_folder(folder: StudyFolder) -> None:
    folder.config.unlink()
    folder.config.mkdir()


def copied(folder: StudyFolder, name: str) -> None:
    shutil.copy(folder.record_file(2), folder.record_file(2).with_name(name))


def changed(folder: StudyFolder, **fields: Any) -> None:
    file = folder.record_file(2)
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | fields), "utf-8")


DAMAGES: dict[str, Callable[[StudyFolder], object]] = {
    "a torn record": lambda folder: folder.record_file(2).write_text("{"),
    "a folder where a record is meant": record_as_folder,
    "a folder where the settings are meant": config_as_folder,
    "a list as settings": lambda folder: folder.config.write_text("- 1"),
    "bytes as settings": lambda folder: folder.config.write_bytes(b"\x80\xff"),
    "a copy beside a record": lambda folder: copied(folder, "0002 (copy).json"),
    "a copy that reads as a number": lambda folder: copied(folder, "2.json"),
    "digits that are no number": lambda folder: copied(folder, "2².json"),
    "a copy under a number of its own": lambda folder: copied(folder, "0099.json"),
}
DEEP: dict[str, Callable[[StudyFolder], object]] = {
    "text as seconds": lambda folder: changed(folder, seconds={"total": "long"}),
    "no seconds": lambda folder: changed(folder, seconds=None),
}


@pytest.mark.parametrize("damage", (DAMAGES | DEEP).values(), ids=DAMAGES | DEEP)
def test_a_damaged_study_beside_it_is_left_out(damage: Callable[[StudyFolder], object], tmp_path: Path) -> None:
    whole = yaml.safe_load(made.study(tmp_path, "whole", side=8).config.read_text("utf-8"))
    asked = (tmp_path, whole["model"], whole.get("device"), whole.get("dtype"))
    alone = measured(*asked)
    assert alone is not None
    folder = made.study(tmp_path, "damaged", side=8)
    damage(folder)
    assert measured(*asked) == alone
    # A list of studies counts records by their text; whoever reads them whole is told of the others.
    state = "damaged" if damage in DAMAGES.values() else "finished"
    assert [standing(StudyFolder(tmp_path, name)).state for name in studies(tmp_path)] == [state, "finished"]
    if state == "finished":
        with pytest.raises(UserError, match="is not a trial's record"):
            folder.read_trials()


def test_a_study_that_may_not_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = yaml.safe_load(made.study(tmp_path, side=8).config.read_text("utf-8"))

    def refused(self: StudyFolder) -> None:
        raise PermissionError(13, "Permission denied", str(self.record_file(0)))

    monkeypatch.setattr(StudyFolder, "read_trials", refused)
    monkeypatch.setattr(StudyFolder, "counted", refused)
    assert measured(tmp_path, whole["model"], whole.get("device"), whole.get("dtype")) is None
    found = standing(StudyFolder(tmp_path, "sunday"))
    assert found.state == "damaged" and "Permission denied" in found.verdict


def test_images_of_another_size_tell_nothing(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    whole = yaml.safe_load(folder.config.read_text("utf-8"))
    asked = tmp_path, whole["model"], whole.get("device"), whole.get("dtype")
    for kept in ([832, 1216], [[832, 1216]], [[832, 1216], [1216, 832]]):  # the first as it was once kept
        folder.config.write_text(yaml.safe_dump(whole | {"size": kept}))
        assert measured(*asked) is None and measured(*asked, [(1216, 832)]) is None
        assert measured(*asked, [(832, 1216), (1216, 832)][: len(kept) if kept[0] != 832 else 1]) is not None


def test_another_resolution_tells_nothing(tmp_path: Path) -> None:
    """As a layout brings it: 256 pixels say nothing of 1024."""
    folder = made.study(tmp_path, side=8)
    whole = yaml.safe_load(folder.config.read_text("utf-8"))
    folder.config.write_text(yaml.safe_dump(whole | {"fingerprint": {"resolution": 256}}))
    asked = tmp_path, whole["model"], whole.get("device"), whole.get("dtype")
    assert measured(*asked, same={"resolution": 256}) is not None
    assert measured(*asked, same={"resolution": 1024}) is None


def test_seconds_below_none_are_no_measurement(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    changed(folder, seconds={"total": -1e9})
    whole = yaml.safe_load(folder.config.read_text("utf-8"))
    assert measured(tmp_path, whole["model"], whole.get("device"), whole.get("dtype")) is None


def test_a_record_is_the_one_of_its_number(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    copied(folder, "0099.json")
    with pytest.raises(UserError, match=r"0099\.json is not a trial's record .*trial 2's.*remove it"):
        folder.read_trials()
