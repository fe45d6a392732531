"""The guarded reader: known values, and what would break a plain parser is a sentence, told at once."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import configs
from configs import UserError, errors, open_image, plain_yaml, reading

LAUGH = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
)  # fmt: skip


@given(st.dictionaries(st.text("abc"), plain, max_size=4))
def test_what_others_write_is_read_as_it_was(found: dict[str, Any]) -> None:
    assert configs.parse_json(json.dumps(found), "x") == found
    assert plain_yaml.parse_yaml(yaml.safe_dump(found), "x") == found


@pytest.mark.parametrize("text, wanted", [
    ("a: 2001-99-99\nb: 2026-11-28", {"a": "2001-99-99", "b": "2026-11-28"}),  # no dates
    ("a: &x [1, 2.5]\nb: *x", {"a": [1, 2.5], "b": [1, 2.5]}),
    ("a: 0x1F\nb: 1_000\nc: '3'\nd: !!str 4\ne: !!int '5'\nf: '1:30'\ng: 0\nh: 08\ni: 0.50",
     {"a": 31, "b": 1000, "c": "3", "d": "4", "e": 5, "f": "1:30", "g": 0, "h": "08", "i": 0.5}),
    ("a: yes\nb: ~\nc:\nd: ! 1\n4: x\n<<: y", {"a": True, "b": None, "c": None, "d": 1, 4: "x", "<<": "y"}),
    ("--- {a: 1}\n...", {"a": 1}), ("", {}), ("~", {}),
])  # fmt: skip
def test_yaml_is_plain_data(text: str, wanted: dict[Any, Any]) -> None:
    assert plain_yaml.parse_yaml(text, "x") == wanted


@pytest.mark.parametrize("text, said", [
    ("a: " + "9" * 5000, "line 1: .* has 5,000 characters"), ("a: 0x" + "f" * 200, "characters"),
    ("a: 1:30", "base 8 or 60"), ("a: -010", "base 8 or 60"), ("a: 1:30.5", "base 8 or 60"),
    ("a: 1." + "0" * 200, "characters"),
    ("b: 1\na: " + "[" * 10_000, "line 2: .*more than 64 deep"), ("{" * 100_000, "more than 64 deep"),
    (LAUGH, "more than 50,000 values"), ("a: &a [*a]", "stands for nothing"), ("a: *b", "stands for nothing"),
    ("- " * 60_000, "deep"), ("a:\n" + "- x\n" * 60_000, "values"),
    ("a: !!timestamp 2001-01-01", "tag .*timestamp"), ("a: !!set {x}", "tag .*set"), ("a: !!binary aGk=", "tag"),
    ("a: !!python/object/apply:os.getcwd []", "tag .*python"), ("a: !!python/name:os.getcwd", "tag"),
    ("a: .inf", r"\.inf is not a finite"), ("a: [-.Inf]", "finite"), ("a: .nan", "finite"), ("a: !!int x", "no int"),
    ("a: !!bool x", "no bool"), ("a: !!float ''", "no float"),
    ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
    ("? [a]\n: 1", "can't be a key"), ("a: 1\n---\nb: 1", "line 2: a second document"), ("a: \0", "not valid YAML"),
])  # fmt: skip
def test_what_yaml_is_not_read(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        plain_yaml.parse_yaml(text, "x.yaml")
    assert str(caught.value).startswith("x.yaml") and len(str(caught.value)) < 500


@pytest.mark.parametrize("text, said", [
    ("[" * 100_000, "64 deep"), ("[" * 66 + "]" * 66, "64 deep"), ('{"a":' * 500 + "1" + "}" * 500, "64 deep"),
    ("9" * 5000, "5,000 characters"), ("-1." + "0" * 500, "characters"), ("1e999", "larger than any"),
    ("[NaN]", "NaN is no number"), ("-Infinity", "no number"), ('["a\\ud800 0"]', "half of a surrogate"),
    ('{"a": {"\\udc00": 1}}', "half of a surrogate"), ("", "not valid JSON"), ("{", "not valid JSON"),
    ("[" + "," * 8_000_001, "too large"),
])  # fmt: skip
def test_what_json_is_not_read(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        configs.parse_json(text, "x.json")
    assert str(caught.value).startswith("x.json") and len(str(caught.value)) < 500


def test_json_of_other_writers_can_be_taken() -> None:
    found = configs.parse_json('[NaN, -Infinity, 1e999, "\\ud800", "\\ud83d\\ude00"]', "x", nan=True, halves=True)
    assert found[0] != found[0] and found[1:] == [-float("inf"), float("inf"), "\ud800", "😀"]
    deepest = "[" * 64 + "1" + "]" * 64
    assert json.dumps(configs.parse_json(deepest, "x")) == deepest


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_with_and_without_its_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.yaml").write_text("a: ä\n", encoding)
    assert configs.read_yaml(tmp_path / "x.yaml") == {"a": "ä"}


@pytest.mark.parametrize("name, content, said", [
    ("x", b"\xff", "no text in UTF-8"), ("x", b"\xff\xfea", "no text"), ("x", b"abcd", "too large: at most"),
    ("", b"", "can't read .*Is a directory"), ("y", b"", "can't read .*y: No such file"),
    ("n" * 9000, b"", "can't read .*name too long"), ("a\0b", b"", "can't read .*null"),
])  # fmt: skip
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        reading.read_text(tmp_path / name, 3)
    assert len(str(caught.value)) < 500


def test_errors_quote_so_much() -> None:
    assert configs.shortened("a" * 200) == "a" * 200 and configs.shortened("a" * 201) == "a" * 199 + "…"
    assert len(configs.quoted("x" * 10**6)) <= 200 >= len(configs.quoted(["x" * 10**6]))
    said = str(configs.unknown("key", "k" * 10**6, [f"{number:09}" * 100 for number in range(10_000)]))
    assert len(said) < 2 * errors.MOST


def safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(**given: Any) -> bytes:
    return json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | given}).encode()


@pytest.mark.parametrize("content, said", [
    (b"", "no length"), (safetensors(entry(), length=2**63), "no length"),
    (safetensors(entry(), length=999), "cut off"), (safetensors(entry(), b"1234567"), "cut off: it has"),
    (safetensors(b"[" * 100_000), "deep"), (safetensors(b"[]"), "no mapping"), (safetensors(b"\xff\xff"), "UTF-8"),
    (safetensors(entry(data_offsets=[8, 0]), b"12345678"), "the tensor 'w'"),
    (safetensors(entry(shape=[-1])), "tensor"),
    (safetensors(entry(shape=None)), "tensor"), (safetensors(entry(dtype=1)), "tensor"),
    (safetensors(entry(data_offsets=[0])), "tensor"), (safetensors(b'{"w": 1}'), "tensor"),
    (safetensors(entry(data_offsets=[0, 1.5])), "tensor"), (safetensors(b'{"__metadata__": {"a": 1}}'), "metadata"),
])  # fmt: skip
def test_damaged_headers_of_safetensors(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=said):
        configs.read_safetensors_header(tmp_path / "x.safetensors")


def test_a_header_of_safetensors(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(safetensors(entry(), b"12345678"))
    assert configs.read_safetensors_header(tmp_path / "x.safetensors")["w"]["shape"] == [2]


def png(width: int, height: int) -> bytes:
    """A PNG that claims so many pixels, and has none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("content, said", [
    (png(8193, 8192), "too large"), (png(2**31 - 1, 2**31 - 1), "too large"), (png(8, 8), "can't be read"),
    (b"", "can't be read"), (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "can't be read"),
])  # fmt: skip
def test_images_that_are_not_read(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.png").write_bytes(content)
    for source, name in ((tmp_path / "x.png", ""), (io.BytesIO(content), "x.png")):
        with pytest.raises(UserError, match=f"x.png.* {said}"), open_image(source, name) as image:
            image.load()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_images_are_read(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (3, 2), "red").save(tmp_path / "x", kind)
    with open_image(tmp_path / "x") as image:
        assert image.convert("RGB").getpixel((0, 0))[0] > 200 and image.size == (3, 2)
