"""A study's folder taken away, or given another name. Both hold the study, so no process is running it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

from configs import UserError, read_yaml
from search.storage.files import replacing, write_json
from search.storage.study_folder import StudyFolder


def check_own(folder: StudyFolder) -> None:
    """Raises UserError where a server has the study: other machines may be running it."""
    kept = read_yaml(folder.config).get("storage")
    if kept is not None:
        raise UserError(
            f"study '{folder.name}' is on the server {kept}, where other machines may use it: delete or rename it there"
        )


def check_free(folder: StudyFolder, other: StudyFolder) -> None:
    """Raises UserError where a study can't be given that name."""
    check_own(folder)
    if other.root.exists():
        raise UserError(f"there is a {other.root} already: give another name, or remove it")


def delete(folder: StudyFolder) -> None:
    """Remove the folder. Raises UserError where a process holds the study."""
    check_own(folder)
    with folder.locked():  # which takes away a folder in which nothing else is
        folder.config.unlink(missing_ok=True)  # first: what is left of a delete that is killed is no study
        for each in folder.root.iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            elif each != folder.lock:
                each.unlink(missing_ok=True)


def rename(folder: StudyFolder, other: StudyFolder) -> None:
    """Give a study another name: its folder, its settings, its result and Optuna's database. Raises UserError."""
    import yaml

    check_free(folder, other)
    with folder.locked():
        settings, result = read_yaml(folder.config) | {"study": other.name}, folder.read_result()
        folder.root.rename(other.root)
        folder.root.mkdir()
        other.lock.rename(folder.lock)  # it goes with the hold
    if other.database.exists():
        with closing(sqlite3.connect(other.database)) as connection, connection:
            connection.execute("UPDATE studies SET study_name = ? WHERE study_name = ?", (other.name, folder.name))
    if result is not None:
        write_json(other.result, result | {"study": other.name})
    with replacing(other.config) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")
