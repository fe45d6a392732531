"""The images of a folder: all of them, in the order that people count in, and none that a program left there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from configs import UserError
from configs.image_folders import images_in, natural


def made(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(folder: Path, **more) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in images_in(folder, **more)]


def test_the_order_is_that_of_counting(tmp_path: Path) -> None:
    names = ["a/2.png", "a/10.png", "b1.JPG", "b2.tiff", "b10.avif"]
    assert found(made(tmp_path, *reversed(names))) == names
    assert found(tmp_path, deep=False) == names[2:]


def test_any_name_has_a_place_in_the_order(tmp_path: Path) -> None:
    """Also one of digits that count for nothing (²), and é in one character or in two."""
    names = ["1²3.png", "01.png", "1.png", "١٢.png", "e\u0301.png", "\u00e9a.png", "1a2.png", "a.png", "٠.png"]
    folder = made(tmp_path, *names)
    assert sorted(found(folder)) == sorted(names)
    assert sorted(["e\u0301b", "\u00e9a", "\u00e9c"], key=natural) == ["\u00e9a", "e\u0301b", "\u00e9c"]


def test_what_programs_leave_beside_images_is_none_of_them(tmp_path: Path) -> None:
    left = [".thumbnails/0.png", ".ipynb_checkpoints/0-checkpoint.png", "@eaDir/0.png/thumb.jpg", "__MACOSX/0.png"]
    folder = made(tmp_path / ".cache", "0.png", "._0.png", ".1.png", "notes.txt", "@her.png", *left)
    assert found(folder) == ["0.png", "@her.png"]  # and the folder itself may be hidden


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    made(tmp_path, "elsewhere/1.png", "set/0.png")
    (tmp_path / "set" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    assert found(tmp_path / "set") == ["0.png", "more/1.png"]


def test_an_image_that_is_lost_is_told(tmp_path: Path) -> None:
    folder = made(tmp_path, "0.png", "a/photo.HEIC")
    with pytest.raises(UserError, match=r"photo\.HEIC can't be read: save it as PNG, or move it out"):
        images_in(folder)
    (folder / "a" / "photo.HEIC").unlink()
    (folder / "1.png").symlink_to(folder / "gone.png")
    with pytest.raises(UserError, match=r"1\.png is no file: mend the link, or remove it"):
        images_in(folder)
    (folder / "1.png").unlink()
    os.mkfifo(folder / "2.png")
    with pytest.raises(UserError, match=r"2\.png is no file"):
        images_in(folder)
