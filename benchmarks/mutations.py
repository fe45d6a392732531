"""Damages files as chance and malice do: seeded, so that a case can be made again.

Plain data gets values of other types, sizes and depths in any place; bytes are flipped, cut, doubled and mixed with
what parsers trip over; chunks of a PNG get a checksum that fits again, so that their damage is seen behind it.
"""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import yaml

TOKENS = (
    b"[" * 5000, b"{" * 5000, b'{"a":' * 500, b"9" * 5000, b"1e999", b"NaN", b"-Infinity", b"\xff\xfe", b"\xef\xbb\xbf",
    b"\x00", b"\\ud800", b"&a [*a]", b"*a", b"!!python/object/apply:os.getcwd []", b"!!set {a}", b".inf", b"2001-99-99",
    b"<<: *a", b"? [a]\n: b", b"\t", b"---\n", b"a: a: a", b"%YAML 9.9", b"|9", b'"', b"'" * 3, b"\r", b"\n" * 2000,
    b"," * 2000, "\u202e\u2028𝟙²".encode(), b"${x}", b"0x" + b"f" * 400, b"1:" * 300 + b"1", b"-0", b"1_0",
)  # fmt: skip
VALUES: tuple[Callable[[Random], Any], ...] = (
    lambda rng: None, lambda rng: True, lambda rng: rng.choice([-1, 0, 1, 2**31, 2**63, 2**64, 10**50, 10**400]),
    lambda rng: rng.choice([0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf")]), lambda rng: "",
    lambda rng: rng.choice(["x" * 100_000, "a\ud800", "\0", "../../etc", "\x1b[2J", "{subject}", "²", "0" * 500]),
    lambda rng: [], lambda rng: {}, lambda rng: [[]], lambda rng: {"": {}},
    lambda rng: [None] * rng.choice([1, 3, 5000]), lambda rng: nested(rng.choice([30, 300])),
    lambda rng: {str(number): number for number in range(rng.choice([1, 3000]))},
    lambda rng: rng.choice([["1", 0], [1, 2, 3, 4, 5, "MODEL"], {"id": 1, "type": "Reroute"}, {"prompt": "a"}]),
)  # fmt: skip


def nested(depth: int) -> list[Any]:
    """Lists inside each other."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def data(content: Any, rng: Random) -> Any:
    """Plain data with one to three places changed."""
    root = [copy.deepcopy(content)]
    for _ in range(rng.randint(1, 3)):
        places = _places(root)
        holder, key = rng.choice(places)
        what = rng.random()
        if what < 0.6:
            holder[key] = rng.choice(VALUES)(rng)
        elif what < 0.75:
            other, there = rng.choice(places)
            holder[key] = copy.deepcopy(other[there])
        elif what < 0.9 and isinstance(holder, dict):
            holder[rng.choice(["id", "x", "", "²", "a" * 300, key + "_"])] = holder.pop(key)
        elif holder is not root:
            del holder[key]
    return root[0]


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting and len(found) < 2000:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], list | dict):
                waiting.append(holder[key])
    return found


def as_json(content: Any, rng: Random) -> bytes:
    """Changed, written as JSON, and in one of three cases damaged as text too."""
    text = json.dumps(data(content, rng), indent=rng.choice([None, 1]), ensure_ascii=True).encode()
    return raw(text, rng) if rng.random() < 0.3 else text


def as_yaml(content: Any, rng: Random) -> bytes:
    """The same in YAML's two styles; the one with brackets is JSON."""
    if rng.random() < 0.5:
        return as_json(content, rng)
    changed = data(content, rng)
    try:
        text = yaml.safe_dump(changed, sort_keys=False).encode()
    except RecursionError:
        text = json.dumps(changed).encode()
    return raw(text, rng) if rng.random() < 0.5 else text


def raw(content: bytes, rng: Random) -> bytes:
    """Bytes with one to four faults."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) + 1)
        long = min(rng.choice([1, 1, 4, 64, 1000]), len(found) - at)
        what = rng.randrange(6)
        if what == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del found[at : at + long]
        elif what == 2:
            found[at:at] = rng.choice(TOKENS)
        elif what == 3:
            found[at : at + long] = rng.randbytes(long)
        elif what == 4:
            found[at:at] = found[at : at + long] * rng.choice([1, 50])
        elif rng.random() < 0.3:
            del found[at:]
    return bytes(found)


def png(content: bytes, rng: Random) -> bytes:
    """A PNG with one chunk damaged and its checksum right, or damaged anywhere."""
    if rng.random() < 0.4:
        return raw(content, rng)
    chunks, at = [], 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = rng.randrange(len(chunks))
    kind, inner = chunks[chosen]
    if kind == b"IHDR" and rng.random() < 0.6:
        inner = struct.pack(">II", *(rng.choice([0, 1, 9, 4000, 70_000, 2**31 - 1]) for _ in range(2))) + inner[8:]
    elif kind in (b"tEXt", b"zTXt") and rng.random() < 0.3:
        kind, inner = b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * rng.choice([10, 10**7]))
    else:
        inner = raw(inner, rng)
    chunks[chosen] = rng.choice([kind, kind, kind, b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"acTL"]), inner
    return content[:8] + b"".join(map(_chunk, chunks))


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, inner = chunk
    return struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))


def safetensors(header: Any, tensors: bytes, rng: Random) -> bytes:
    """A header changed as data, or all of the file as bytes."""
    text = json.dumps(header).encode()
    if rng.random() < 0.3:
        return raw(struct.pack("<Q", len(text)) + text + tensors, rng)
    text = as_json(header, rng)
    length = rng.choice([len(text)] * 6 + [0, 2**20, 2**63])
    return struct.pack("<Q", length) + text + tensors
