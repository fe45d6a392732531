"""The texts that image tools keep in their files: a PNG's text chunks, and the EXIF of a JPEG or WebP.

PNG: "parameters" (the web UI, Forge, SD.Next, Fooocus), "prompt" and "workflow" (ComfyUI; of an animated one in chunks
called comf), "invokeai_metadata" and "invokeai_graph" (InvokeAI). EXIF: the web UI's comment in the Exif block, that of
Fooocus in the first one, ComfyUI's "prompt: …" and "workflow: …" in the camera's model and make.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from configs import UserError, decoded, open_image, read_bytes
from configs.reading import shown

IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")
"""How a PNG, a JPEG and a WebP begin."""
KEYS = ("parameters", "invokeai_metadata", "prompt", "workflow", "invokeai_graph")
"""In the order of what says most."""
BLOCK, COMMENT = 0x8769, 0x9286
CAMERA = (0x010F, 0x0110, 0x010E, 0x010D, 0x010C)
"""Where ComfyUI's nodes put texts, from the model downwards."""
CODINGS = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "utf-8", b"\0" * 8: "utf-8"}


def texts(path: Path) -> dict[str, str]:
    """By key of KEYS; empty where the image holds none. Raises UserError where it is no image, or damaged."""
    with open_image(path) as image:
        image.load()  # a PNG's text may stand behind its pixels
        known = dict(image.info)
        exif = image.getexif()
        comment = exif.get_ifd(BLOCK).get(COMMENT) or exif.get(COMMENT)
        camera = [exif.get(tag) for tag in CAMERA]
        chunks = [data.partition(b"\0") for name, data, *_ in getattr(image, "private_chunks", ()) if name == b"comf"]
    found = {key: str(known[key]) for key in KEYS if isinstance(known.get(key), str) and known[key]}
    if text := _comment(comment):
        found.setdefault("parameters", text)
    for name, _, data in chunks:
        found.setdefault(name.decode("latin-1"), data.decode("latin-1"))
    for each in camera:
        key, mark, text = each.partition(":") if isinstance(each, str) else ("", "", "")
        if mark and key.lower() in KEYS:
            found.setdefault(key.lower(), text.strip())
    return {key: found[key] for key in KEYS if key in found}


def workflow(file: Path, *keys: str) -> str:
    """The text of ComfyUI's workflow in a JSON file or an image; of an image what it keeps by the first of keys that it
    has: "workflow" is as the editor saves it, "prompt" in API format.

    Raises:
        UserError: the file can't be read, or is an image without.
    """
    content = read_bytes(file)
    if not content.startswith(IMAGES):
        return decoded(content, shown(file))
    found = texts(file)
    for key in keys:
        if key in found:
            return found[key]
    raise UserError(
        f"{shown(file)} is an image that holds no workflow of ComfyUI: give the file that ComfyUI saved (editors and "
        "chats remove what is in it), or the workflow as JSON"
    )


def _comment(value: Any) -> str:
    if isinstance(value, str):
        return value.strip("\0 ")
    if not isinstance(value, bytes):
        return ""
    coding = CODINGS.get(value[:8])
    return value[8:].decode(coding, "replace") if coding else value.decode("utf-8", "replace")
