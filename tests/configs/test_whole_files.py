"""Files written under a temporary name: what a killed process leaves is swept, what a living one writes is not."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from configs import whole_files
from configs.whole_files import replacing, sweep
from tests.search.fakes import settings
from tests.search.test_run import study

WRITER = """
import sys
from pathlib import Path
from configs.whole_files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).parents[2]


def test_only_what_a_dead_process_left_is_swept(tmp_path: Path) -> None:
    file = tmp_path / "confirm" / "0001" / "000.webp"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert writer.stdin is not None and writer.stdout is not None
    assert writer.stdout.readline() == b"written\n"
    (part,) = file.parent.iterdir()
    sweep(tmp_path)
    assert part.read_text() == "half"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdin.close()
    writer.stdout.close()
    assert part.exists()
    (tmp_path / "mine.part").write_text("not ours")
    sweep(tmp_path, tmp_path / "none")
    assert not part.exists()
    assert (tmp_path / "mine.part").exists()
    (deeper := tmp_path / "deep" / part.name).parent.mkdir()
    deeper.write_text("half")
    sweep(tmp_path, deep=False)
    assert deeper.exists()


def test_one_that_is_swept_before_it_is_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, calls = whole_files.fcntl.flock, []

    def late(stream: object, how: int) -> None:
        if not calls:
            next(tmp_path.glob(".*.part")).unlink()
        calls.append(how)
        lock(stream, how)  # type: ignore[arg-type]

    monkeypatch.setattr(whole_files.fcntl, "flock", late)
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "whole" and len(calls) == 2


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(whole_files.fcntl, "flock", none)
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        sweep(tmp_path)
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_a_study_is_swept_when_it_is_opened_again(tmp_path: Path) -> None:
    config = settings(tmp_path, trials=3)
    study(config)
    left = [
        config.mlruns / place / f".{number:032x}.part"
        for number, place in enumerate(("studies/small", "studies/small/trials", "studies/small/confirm/0000", "cache"))
    ]
    for part in left:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text("half")
    study(config)
    assert not [part for part in left if part.exists()]
