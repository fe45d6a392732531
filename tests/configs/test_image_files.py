"""Image files in every depth, direction and transparency: the pixels that a viewer shows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from configs import UserError
from configs.image_files import SUFFIXES, image_frames, still_image

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
"""8 bits, 6 rows of 8."""


def saved(image: Image.Image, form: str, **more) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **more)
    return stream.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(still_image(data, "it"))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_show_what_eight_do(form: str) -> None:
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    np.testing.assert_array_equal(pixels(saved(deep, form)), pixels(saved(Image.fromarray(GREY), form)))


def test_sixteen_bits_are_rounded() -> None:
    levels = np.array([[0, 128, 129, 65535 - 129, 65535 - 128, 65535]], np.uint16)  # 257 of 65535 are 1 of 255
    assert pixels(saved(Image.fromarray(levels), "PNG"))[0, :, 0].tolist() == [0, 0, 1, 254, 255, 255]


def test_a_sixteen_bit_tiff_can_have_its_white_at_zero() -> None:
    data = bytearray(saved(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"))
    place = data.index(b"\x06\x01\x03\x00\x01\x00\x00\x00\x01")  # PhotometricInterpretation, SHORT, one: 1
    data[place + 8] = 0
    np.testing.assert_array_equal(pixels(bytes(data))[..., 0], 255 - GREY)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pixels_without_a_fixed_range_are_refused(kind: type) -> None:
    with pytest.raises(UserError, match=r"it can't be read: its pixels are 32-bit numbers.*save it with 8 or 16 bits"):
        pixels(saved(Image.fromarray(GREY.astype(kind)), "TIFF"))


def test_an_image_lies_as_its_exif_says() -> None:
    upright = Image.fromarray(np.dstack([GREY, GREY, 255 - GREY]))
    for orientation, turn in ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90),
                              (8, Image.Transpose.ROTATE_270), (2, Image.Transpose.FLIP_LEFT_RIGHT)):  # fmt: skip
        exif = Image.Exif()
        exif[0x0112] = orientation
        for form in ("PNG", "TIFF"):
            found = pixels(saved(upright.transpose(turn), form, exif=exif))
            np.testing.assert_array_equal(found, np.asarray(upright))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16"])
def test_transparency_lies_on_white(mode: str) -> None:
    if mode == "I;16":
        image, more = Image.fromarray(GREY.astype(np.uint16) * 257), {"transparency": 5 * 257}
    elif mode in ("P", "L"):
        image, more = Image.fromarray(GREY).convert(mode), {"transparency": 5}
    else:
        image, more = Image.fromarray(GREY).convert(mode), {}
        image.putalpha(Image.fromarray(np.where(GREY == 5, 0, 255).astype(np.uint8)))
    found = pixels(saved(image, "PNG", **more))
    np.testing.assert_array_equal(found, np.dstack([np.where(GREY == 5, 255, GREY)] * 3))


@pytest.mark.parametrize("form", ["PNG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "JPEG"])
def test_every_format_is_read(form: str) -> None:
    lossy = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}, "JPEG": {"quality": 100}}
    found = pixels(saved(Image.fromarray(GREY), form, **lossy.get(form, {})))
    assert found.shape == (6, 8, 3) and np.abs(found[..., 0].astype(int) - GREY).max() <= 4


@pytest.mark.parametrize("form", ["PNG", "GIF", "TIFF", "WEBP", "AVIF"])
def test_frames_are_told_apart(form: str) -> None:
    red, blue = Image.new("RGB", (8, 6), (255, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 255))
    data = saved(red, form, save_all=True, append_images=[blue])
    assert [np.asarray(frame)[3, 3].argmax() for frame in image_frames(data, "it")] == [0, 2]
    with pytest.raises(UserError, match="it holds several frames"):
        still_image(data, "it")


def test_a_photograph_with_a_preview_is_one_image() -> None:
    red, blue = Image.new("RGB", (8, 6), (255, 0, 0)), Image.new("RGB", (8, 6), (0, 0, 255))
    assert len(list(image_frames(saved(red, "MPO", save_all=True, append_images=[blue]), "it"))) == 1


def cut() -> bytes:
    return saved(Image.effect_noise((64, 64), 50), "PNG")[:600]


def scripted() -> bytes:
    """PostScript, for which Pillow would start a program."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"


def text_bomb() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("note", "x" * 2**21, zip=True)
    return saved(Image.fromarray(GREY), "PNG", pnginfo=info)


@pytest.mark.parametrize("made", [bytes, lambda: b"no image", cut, scripted, text_bomb])
def test_what_is_no_image_is_one_line(made, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(made())
    for source in (made(), tmp_path / "a.png"):
        with pytest.raises(UserError, match=r"^the image a\.png can't be read: ") as error:
            still_image(source, "a.png")
        assert "\n" not in str(error.value) and "0x" not in str(error.value)
    with pytest.raises(UserError, match=r"b\.png can't be read: .*No such file"):
        still_image(tmp_path / "b.png", "b.png")


def test_every_suffix_is_of_a_format_that_is_read() -> None:
    Image.init()
    from configs.images import FORMATS

    assert {Image.EXTENSION[suffix] for suffix in SUFFIXES} <= set(FORMATS)
