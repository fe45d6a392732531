"""Pictures and videos that images begin from: read in every form, fitted, and refused with the file's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs import UserError
from freeu.models import changed, control, inputs, load_generator, load_spec
from freeu.models.spec import ModelSpec

WIDE = (48, 32)
COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200), (200, 30, 200), (90, 90, 90)]


def pictures() -> list[Image.Image]:
    return [Image.new("RGB", WIDE, colour) for colour in COLOURS]


def saved(root: Path, form: str) -> Path:
    file = root / f"clip.{form}"
    if form == "folder":
        file.mkdir()
        for i, picture in enumerate(pictures()):
            picture.save(file / f"f{i + 7}.png")  # f10 comes after f9
    elif form == "gif":
        first, *others = pictures()
        first.save(file, save_all=True, append_images=others)
    else:
        cv2 = pytest.importorskip("cv2")
        writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 8, WIDE)
        for picture in pictures():
            writer.write(cv2.cvtColor(np.array(picture), cv2.COLOR_RGB2BGR))
        writer.release()
    return file


def rerender(file: Path, **more) -> ModelSpec:
    return changed(load_spec("rerender"), {"input": str(file), "frames": 3, "every": 3, **more})


@pytest.mark.parametrize("form", ["folder", "gif", "mp4"])
def test_every_third_frame_of_every_form(tmp_path: Path, form: str) -> None:
    found = inputs.load(rerender(saved(tmp_path, form)), "any", (32, 48))
    assert found.dtype == torch.uint8 and found.shape == (3, 3, 32, 48)
    wanted = torch.tensor([COLOURS[i] for i in (0, 3, 6)])
    # GIF has a palette, MPEG-4 is lossy: a few of 255
    assert (found.float().mean((2, 3)) - wanted).abs().max() < (0.5 if form == "folder" else 12)


def test_a_video_that_is_too_short_is_told(tmp_path: Path) -> None:
    file = saved(tmp_path, "gif")
    with pytest.raises(UserError, match=r"clip.gif is too short: 4 key frames, one of every 3, need 10 frames"):
        inputs.load(rerender(file, frames=4), "any", (32, 48))


def test_a_picture_is_cut_about_its_centre(tmp_path: Path) -> None:
    picture = Image.new("RGB", (300, 100), (0, 0, 0))
    picture.paste((255, 255, 255), (100, 0, 200, 100))
    picture.save(tmp_path / "wide.png")
    spec = changed(load_spec("sd15"), {"input": str(tmp_path / "wide.png")})
    assert spec.kind == "image-to-image"
    # white but for the resampling's ripple at the very edge
    assert inputs.load(spec, "any", (64, 64)).min() > 240


def test_the_size_is_the_inputs_shape_at_the_models_pixels(tmp_path: Path) -> None:
    Image.new("RGB", (1920, 1080)).save(tmp_path / "hd.png")
    spec = changed(load_spec("sd15"), {"input": str(tmp_path / "hd.png")})
    assert inputs.size(spec, 64) == (384, 704)  # 0.27 million pixels, 512 x 512 are 0.26
    assert inputs.size(load_spec("sd15"), 64) == (512, 512)


def test_turned_and_transparent_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: to be turned by a quarter
    Image.new("RGB", (40, 20), (9, 9, 9)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGBA", (8, 8), (10, 20, 30, 128)).save(tmp_path / "clear.png")
    assert next(inputs._frames(tmp_path / "turned.jpg")).size == (20, 40)
    assert next(inputs._frames(tmp_path / "clear.png")).mode == "RGB"


def test_each_prompt_its_own(tmp_path: Path) -> None:
    for name, colour in (("a.png", (255, 0, 0)), ("b.png", (0, 255, 0))):
        Image.new("RGB", (8, 8), colour).save(tmp_path / name)
    chosen = {"a": str(tmp_path / "a.png"), "b": str(tmp_path / "b.png")}
    spec = changed(load_spec("sd15"), {"inputs": chosen})
    assert [inputs.load(spec, name, (8, 8))[0, :, 0, 0].tolist() for name in "ab"] == [[255, 0, 0], [0, 255, 0]]
    with pytest.raises(UserError, match="'c' has no image to begin from"):
        inputs.load(spec, "c", (8, 8))


def test_a_picture_is_what_a_viewer_shows(tmp_path: Path) -> None:
    """In 16 bits, turned by EXIF, with transparency: the same pixels as the plain picture's."""
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    plain, exif = Image.fromarray(grey), Image.Exif()
    exif[0x0112] = 6
    plain.save(tmp_path / "plain.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    plain.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    plain.save(tmp_path / "clear.png", transparency=5)
    found = {
        file.stem: inputs.load(changed(load_spec("sd15"), {"input": str(file)}), "any", (6, 8))[0, 0]
        for file in tmp_path.iterdir()
    }
    assert found["plain"].tolist() == grey.tolist()
    assert torch.equal(found["deep"], found["plain"]) and torch.equal(found["turned"], found["plain"])
    assert found["clear"].tolist() == np.where(grey == 5, 255, grey).tolist()


def test_a_folders_frames_are_its_own(tmp_path: Path) -> None:
    """In their order, without thumbnails and what lies in further folders."""
    file = saved(tmp_path, "folder")
    for other in (".thumbnails", "depth"):
        (file / other).mkdir()
        Image.new("RGB", WIDE, "white").save(file / other / "f0.png")
    Image.new("RGB", WIDE, "white").save(file / "._f7.png")
    (file / "f²0.png").write_bytes((file / "f13.png").read_bytes())
    assert [each.name for each in inputs.files(rerender(file))] == [*(f"f{i + 7}.png" for i in range(7)), "f²0.png"]


@pytest.mark.parametrize("name, content, said", [
    ("no.png", b"not a picture", "no.png can't be read"),
    ("cut.png", None, "cut.png can't be read"),
    ("no.mp4", b"not a video", "no frame of it can be decoded"),
    ("a.txt", b"words", "is no picture or video"),
])  # fmt: skip
def test_what_cant_be_read_is_named(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    file = tmp_path / name
    if content is None:
        Image.effect_noise((64, 64), 50).save(file)
        content = file.read_bytes()[:600]
    file.write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        inputs.load(changed(load_spec("sd15"), {"input": str(file)}), "any", (8, 8))
    assert name in str(error.value)


def test_a_damaged_one_is_told_before_the_weights_load(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"not a picture")
    spec = changed(load_spec("sd15"), {"inputs": {"a": str(tmp_path / "no.png")}, "source": str(tmp_path / "none")})
    with pytest.raises(UserError, match=r"the image .*no\.png can't be read"):
        load_generator(spec, device="cpu")


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no frames"):
        inputs.load(rerender(tmp_path), "any", (8, 8))


@pytest.mark.parametrize("model, given, said", [
    ("rerender", {}, "redraws a video of yours"),
    ("svd", {}, "sets pictures of yours in motion"),
    ("sd15", {"input": "none.png"}, "none.png: no such file"),
    ("sd15", {"input": __file__}, "test_inputs.py is no picture or video"),
    ("modelscope", {"input": "a.png"}, "is text-to-video and begins from no picture"),
    ("modelscope", {"refiner": "x"}, "--refiner goes with text to image"),
    ("sd15", {"frames": 8}, "--frames 8: sd15 is text-to-image, for which it means nothing"),
    ("sdxl", {"strength": 0.5}, "--strength 0.5: sdxl is text-to-image"),
    ("modelscope", {"every": 2}, "--every 2: modelscope is text-to-video"),
])  # fmt: skip
def test_what_is_missing_or_too_much_is_told_before_loading(model: str, given: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        inputs.check(changed(load_spec(model), given))


def test_a_mask_of_black_alone_is_refused(tmp_path: Path) -> None:
    picture, mask = tmp_path / "a.png", tmp_path / "mask.png"
    pictures()[0].save(picture)
    spec = changed(load_spec("sd15"), {"input": str(picture), "mask": str(mask)})
    dark = Image.new("L", WIDE)
    dark.save(mask)
    with pytest.raises(UserError, match=r"mask\.png: nothing of the mask is white"):
        inputs.read(spec)
    dark.putpixel((20, 20), 255)  # a spot is enough
    dark.save(mask)
    inputs.read(spec)


def test_what_cannot_be_decoded_is_told_before_loading(tmp_path: Path) -> None:
    torn, whole = tmp_path / "torn.png", tmp_path / "whole.png"
    torn.write_bytes(b"\x89PNG\r\n\x1a\n")
    pictures()[0].save(whole)
    held = {"controlnets": ("net",), "input": str(whole)}
    for given in ({"input": str(torn)}, {"input": str(whole), "mask": str(torn)}):
        with pytest.raises(UserError, match=r"torn\.png can't be read"):
            inputs.check(changed(load_spec("sd15"), given))
    with pytest.raises(UserError, match=r"torn\.png can't be read"):
        control.check(changed(load_spec("sd15"), held | {"control": (str(torn),)}))
    film = tmp_path / "film.mp4"
    film.write_bytes(b"no film")
    pytest.importorskip("cv2")
    with pytest.raises(UserError, match=r"can't read the video .*film\.mp4"):
        inputs.check(changed(load_spec("rerender"), {"input": str(film)}))
