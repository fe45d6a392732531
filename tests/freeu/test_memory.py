"""The memory that weights take, from their headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freeu.models import load_spec, memory


def large(file: Path, numbers: int, **more: int) -> Path:
    """A safetensors file of one tensor in half precision, with holes for numbers; `more` are further ones by name."""
    header, end = {}, 0
    for name, n in {"w": numbers, **more}.items():
        header[name] = {"dtype": "F16", "shape": [n], "data_offsets": [end, end + 2 * n]}
        end += 2 * n
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)
    return file


def test_a_single_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = large(tmp_path / "xl.safetensors", 3_500_000_000, **{"model_ema.w": 1000})
    spec = load_spec("sdxl").model_copy(update={"source": str(file)})
    weights, most = memory.needed(spec, "float32")
    assert weights == 14e9 and most == pytest.approx(21e9, rel=1e-3)
    assert memory.needed(spec, "bfloat16")[0] == 7e9
    monkeypatch.setattr(memory, "free", lambda: 30e9)
    assert memory.lines(spec, "cpu", None) == [
        "memory      14.0 GB of weights in float32, 21.0 GB of memory while they are read"
    ]
    monkeypatch.setattr(memory, "free", lambda: 8e9)
    (line,) = memory.lines(spec, "cpu", None)
    assert line.startswith("warning") and "has 8.0 GB left" in line and "--dtype bfloat16" in line
    assert "in float16" in memory.lines(spec, "cuda", None)[0]


def test_a_folder_and_what_is_not_here(sd_folder: Path) -> None:
    spec = load_spec(sd_folder)
    held = sum(file.stat().st_size for file in sd_folder.rglob("*.safetensors"))
    assert memory.needed(spec, "float16")[0] == pytest.approx(held, rel=0.2)  # it is in half precision
    assert memory.lines(spec, "cpu", None) == []  # too small to speak of
    assert memory.needed(load_spec("sdxl"), "float16") is None


def test_what_is_left_here_and_handing_back() -> None:
    left = memory.free()
    assert left is None or left > 0
    memory.give_back()
