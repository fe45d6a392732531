"""The pictures and videos that image-to-image, image-to-video and video-to-video begin from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from configs import UserError
from configs.image_files import SUFFIXES, image_frames
from configs.image_folders import images_in

from .spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from PIL import Image

LUMA = (0.299, 0.587, 0.114)
"""How light red, green and blue are (ITU-R BT.601)."""
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")


def check(spec: ModelSpec) -> None:
    """Whether there is something to begin from, told before anything loads. A prompt set's own pictures are not read.

    Raises:
        UserError: a file or folder is not there or is no picture, or a kind that begins from one was given none.
    """
    named = [("--input", spec.input), ("--mask", spec.mask)]
    named += [("the prompt set's image", each) for each in spec.inputs.values()]
    named += [("the prompt set's mask", each) for each in spec.masks.values()]
    for flag, text in named:
        if text is None:
            continue
        if not (spec.base / text).exists():
            raise UserError(f"{flag} {spec.base / text}: no such file or folder")
        _check_suffix(spec.base / text)
    for text in (spec.input, spec.mask):
        if text is not None:
            picture(spec.base / text)
    begins, video = spec.traits.begins, spec.traits.video
    if begins == "video" and spec.input is None:
        raise UserError(f"--model {spec.name} redraws a video of yours: give --input FILE (MP4, GIF) or FOLDER")
    if begins == "picture" and video and spec.input is None and not spec.inputs:
        raise UserError(
            f"--model {spec.name} sets pictures of yours in motion: give one with --input FILE, or several with "
            "--prompts FOLDER"
        )


def check_masks(spec: ModelSpec) -> None:
    """Whether what paints under a mask has pictures and masks, and nothing else has masks.

    Raises:
        UserError: something is missing, or means nothing.
    """
    if not spec.traits.mask:
        if spec.mask or spec.masks:
            raise UserError(
                f"a mask means nothing to {spec.name}, which is {spec.kind}: it goes with images of Stable "
                "Diffusion and SDXL"
            )
        return
    bare = next((prompt for prompt in spec.inputs if prompt not in spec.masks), None)
    if (spec.input is None and not spec.inputs) or (spec.mask is None and (bare is not None or not spec.masks)):
        raise UserError(
            f"--model {spec.name} paints where a mask is white: give --input FILE and --mask FILE, or columns 'image' "
            "and 'mask' in the prompt set"
        )


def read(spec: ModelSpec) -> None:
    """Reads all of them once, so that a damaged one is told before the weights load.

    Raises:
        UserError: one can't be read, the video is too short, or a mask is all black.
    """
    for prompt in spec.inputs or ([""] if spec.input else []):
        load(spec, prompt, (8, 8))
        if spec.traits.mask and not mask(spec, prompt, spec.image_size).any():
            raise UserError(f"{spec.base / spec.masks.get(prompt, str(spec.mask))}: nothing of the mask is white")


def files(spec: ModelSpec) -> list[Path]:
    """Those that the images depend on, for the identity of what is searched."""
    texts = (spec.input, spec.mask, *spec.inputs.values(), *spec.masks.values())
    places = [spec.base / text for text in texts if text]
    return [file for place in places for file in (images_in(place, deep=False) if place.is_dir() else [place])]


def load(spec: ModelSpec, prompt: str, size: tuple[int, int]) -> torch.Tensor:
    """What `prompt` begins from: uint8 (frames, 3, H, W), scaled to cover `size` = (H, W) and cut to it about its
    centre. Of a video every `spec.every`-th frame, `spec.frames` of them.

    Raises:
        UserError: it can't be read, or the video is too short.
    """
    place = _place(spec, prompt)
    count, every = (spec.frames, spec.every) if spec.traits.begins == "video" else (1, 1)
    chosen = list(islice(_frames(place), 0, (count - 1) * every + 1, every))
    if len(chosen) < count:
        raise UserError(
            f"{place} is too short: {count} key frames, one of every {every}, need {(count - 1) * every + 1} frames; "
            "lower --frames or --every"
        )
    return _pixels(chosen, size)


def fitted(place: Path, size: tuple[int, int]) -> torch.Tensor:
    """A picture, or the first frame of a video: uint8 (1, 3, H, W), scaled and cut as in `load`.

    Raises:
        UserError: it can't be read.
    """
    return _pixels([next(_frames(place))], size)


def mask(spec: ModelSpec, prompt: str, size: tuple[int, int]) -> torch.Tensor:
    """The mask of a prompt: bool (1, 1, H, W), true where it is painted: white, or lighter than half.

    Raises:
        UserError: there is none, or it can't be read.
    """
    text = spec.masks.get(prompt, spec.mask)
    if text is None:
        raise UserError(f"the prompt {prompt!r} has no mask: give one for all with --mask FILE")
    import torch

    grey = (fitted(spec.base / text, size) * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return grey >= 127.5


def picture(place: Path) -> Image.Image:
    """A picture as it is, in RGB. Raises UserError where it can't be read."""
    return next(_frames(place))


def is_video(place: Path) -> bool:
    """Whether it is read as several frames: a video's file, a GIF or a folder."""
    return place.is_dir() or place.suffix.lower() in (*VIDEOS, ".gif")


def _pixels(frames: list[Image.Image], size: tuple[int, int]) -> torch.Tensor:
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    height, width = size
    cut = [ImageOps.fit(frame, (width, height), Image.Resampling.LANCZOS) for frame in frames]
    return torch.stack([torch.from_numpy(np.array(frame)).permute(2, 0, 1) for frame in cut])


def size(spec: ModelSpec, multiple: int) -> tuple[int, int]:
    """(height, width) of the images: as the spec has it where it says; of one input for all prompts its shape at about
    the model's number of pixels, in multiples of `multiple`; the model's square otherwise."""
    side = spec.resolution
    if spec.size is not None or spec.input is None or spec.inputs:
        return spec.image_size
    width, height = next(_frames(spec.base / spec.input)).size
    scale = side / (width * height) ** 0.5
    height, width = (max(multiple, round(each * scale / multiple) * multiple) for each in (height, width))
    return height, width


def _place(spec: ModelSpec, prompt: str) -> Path:
    text = spec.inputs.get(prompt, spec.input)
    if text is None:
        raise UserError(f"the prompt {prompt!r} has no image to begin from: give one for all with --input FILE")
    return spec.base / text


def _frames(place: Path) -> Iterator[Image.Image]:
    """In RGB, in their order."""
    if place.is_dir():
        found = images_in(place, deep=False)
        if not found:
            raise UserError(f"{place} holds no frames: expected {', '.join(SUFFIXES)}")
        for file in found:
            yield next(image_frames(file, str(file)))
    elif place.suffix.lower() in VIDEOS:
        yield from _video(place)
    else:
        _check_suffix(place)
        yield from image_frames(place, str(place))


def _check_suffix(place: Path) -> None:
    if place.suffix.lower() not in (*SUFFIXES, *VIDEOS) and not place.is_dir():
        raise UserError(f"{place} is no picture or video: expected {', '.join((*SUFFIXES, *VIDEOS))}, or a folder")


def _video(file: Path) -> Iterator[Image.Image]:
    from PIL import Image

    cv2 = opencv(f"to read {file}")
    capture = cv2.VideoCapture(str(file))
    try:
        count = 0
        while True:
            there, frame = capture.read()
            if not there:
                break
            count += 1
            yield Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        if count == 0:
            raise UserError(f"can't read the video {file}: no frame of it can be decoded")
    finally:
        capture.release()


def opencv(why: str):  # type: ignore[no-untyped-def]
    """The module cv2. Raises UserError where it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(f'OpenCV is needed {why}: pip install "opencv-python-headless"') from error
    return cv2
