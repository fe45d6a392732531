"""Hashes of large files are remembered by path, size and times."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from freeu.models import hashes, load_spec
from search.evaluation.first_read import read_once


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "LARGE", 100)
    monkeypatch.setattr(hashes, "CHUNK", 64)
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in another process."""
    monkeypatch.setattr(hashes, "_held", {})


def test_a_file_is_read_once_and_again_when_it_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, read = tmp_path / "model.safetensors", []
    file.write_bytes(b"a" * 200)
    assert not hashes.is_known(file)
    assert hashes.of_file(file, read.append) == hashlib.sha256(b"a" * 200).digest() and read == [64, 64, 64, 8]
    forget(monkeypatch)
    monkeypatch.setattr(hashes, "_hash", lambda *_: pytest.fail("read again"))
    assert hashes.is_known(file) and hashes.of_file(file) == hashlib.sha256(b"a" * 200).digest()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stat = file.stat()
    file.write_bytes(b"b" * 200)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as `cp -p` does: its other time tells
    assert hashes.of_file(file) == hashlib.sha256(b"b" * 200).digest()


def test_a_torn_memory_is_no_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * 200)
    hashes.of_file(file)
    (kept,) = (tmp_path / "cache/freeu/sha256").iterdir()
    for text in ("", "zz", "ab"):
        kept.write_text(text)
        forget(monkeypatch)
        assert hashes.of_file(file) == hashlib.sha256(b"a" * 200).digest()


def test_of_several_workers_one_reads_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, log = tmp_path / "model.safetensors", tmp_path / "log"
    file.write_bytes(b"a" * 200)
    fork = multiprocessing.get_context("fork")
    all_here, plain_read, plain_hash = fork.Barrier(4), hashes._read, hashes._hash
    looked: list[Path] = []

    def read(place: Path) -> bytes | None:
        found = plain_read(place)
        looked.append(place)
        if len(looked) == 1:  # none of them has found it
            all_here.wait()
        return found

    def hash_(*given: Any) -> bytes:
        with log.open("a") as stream:
            stream.write("read\n")
        return plain_hash(*given)

    monkeypatch.setattr(hashes, "_read", read)
    monkeypatch.setattr(hashes, "_hash", hash_)
    workers = [fork.Process(target=hashes.of_file, args=(file,)) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert [each.exitcode for each in workers] == [0] * 4 and log.read_text() == "read\n"


def test_small_files_are_not_remembered(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(b"{}")
    assert hashes.is_known(file) and hashes.of_file(file) == hashlib.sha256(b"{}").digest()
    assert not (tmp_path / "cache").exists()


def test_what_a_person_sees_of_it(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    seen: list[tuple[str, int, int]] = []
    screen = SimpleNamespace(say=said.append, reading=lambda *each: seen.append(each))
    spec = load_spec(sd_folder)
    read_once(spec, screen)
    assert said[0].startswith("reading 0.0 GB once") and said[1].startswith(f"loading {spec.name}, ")
    *read, last = seen
    assert read[-1][1] == read[-1][2] > 100_000 and last == ("", 0, 0)
    said.clear()
    forget(monkeypatch)
    read_once(spec, screen)
    assert len(said) == 1 and said[0].startswith("loading")
    said.clear()
    read_once(load_spec("sdxl"), screen)  # not here: it is told where it is loaded
    assert said == []
